//! The arrows between the crates, and what must never be used, held by `cargo metadata`.

use serde_json::Value;

use crate::{Result, workspace};

/// Who uses whom. A crate may also use what those that it uses may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("dp-core", &[]),
    ("dp-kernels", &["dp-core"]),
    ("dp-engine", &["dp-core"]),
    ("dp-audit", &["dp-core"]),
    ("dp-text", &["dp-audit"]),
    ("dp-backend-cpu", &["dp-kernels"]),
    ("dp-backend-wgpu", &["dp-kernels"]),
    ("dp-backend-cuda", &["dp-kernels"]),
    ("dp-burn", &["dp-kernels", "dp-engine"]),
    ("dp-bench", &["dp-kernels"]),
    (
        "dp-cli",
        &[
            "dp-burn",
            "dp-audit",
            "dp-bench",
            "dp-bench-step",
            "dp-text",
            "dp-backend-cpu",
            "dp-backend-wgpu",
            "dp-backend-cuda",
        ],
    ),
    // Timing the accountant must not wait for the CubeCL tree.
    ("dp-benches", &["dp-core"]),
    (
        "dp-bench-step",
        &[
            "dp-burn",
            "dp-backend-cpu",
            "dp-backend-wgpu",
            "dp-backend-cuda",
        ],
    ),
    ("xtask", &[]),
];

/// The only crates that know the framework.
const KNOW_BURN: [&str; 3] = ["dp-burn", "dp-bench-step", "dp-cli"];

/// Crates that work on any runtime, and so name none.
const NEUTRAL: [&str; 6] = [
    "dp-core",
    "dp-kernels",
    "dp-engine",
    "dp-audit",
    "dp-bench",
    "dp-text",
];

/// How the features of `cubecl` that bring a runtime begin, and what the runtimes' own crates are
/// called after `cubecl-`.
const RUNTIMES: [&str; 9] = [
    "cpu",
    "cuda",
    "hip",
    "metal",
    "rocm",
    "test-runtime",
    "vulkan",
    "webgpu",
    "wgpu",
];

/// Fails where a crate of the workspace breaks a rule.
pub(crate) fn check() -> Result<()> {
    let metadata = workspace::metadata()?;
    let broken = violations(&metadata);
    if broken.is_empty() {
        println!(
            "layering: {} crates, every arrow allowed",
            packages(&metadata).count()
        );
        return Ok(());
    }
    Err(format!("layering:\n{}", broken.join("\n")).into())
}

fn violations(metadata: &Value) -> Vec<String> {
    let members: Vec<&str> = packages(metadata).map(name).collect();
    packages(metadata)
        .flat_map(|package| broken_by(package, &members))
        .collect()
}

fn broken_by(package: &Value, members: &[&str]) -> Vec<String> {
    let crate_name = name(package);
    let Some(allowed) = reachable(crate_name) else {
        return vec![format!(
            "{crate_name} has no place in xtask/src/layering.rs"
        )];
    };
    let mut broken = Vec::new();
    for dependency in list(package, "dependencies") {
        let used = name(dependency);
        let in_tests = dependency["kind"] == "dev";
        if used == "dp-benches" || used == "benches" {
            broken.push(format!("{crate_name} uses {used}: nothing may"));
        }
        // What the tests of a crate use is their own affair.
        if in_tests {
            continue;
        }
        if members.contains(&used) && !allowed.contains(&used) {
            broken.push(format!("{crate_name} uses {used}: there is no such arrow"));
        }
        let is_burn = used == "burn" || used.starts_with("burn-");
        if is_burn && !KNOW_BURN.contains(&crate_name) {
            broken.push(format!(
                "{crate_name} uses {used}: it must not know the framework"
            ));
        }
        if NEUTRAL.contains(&crate_name) {
            broken.extend(runtime(crate_name, dependency));
        }
        if crate_name == "dp-core" && dependency["optional"] != true {
            broken.extend(needs_std(dependency));
        }
    }
    if NEUTRAL.contains(&crate_name) {
        broken.extend(runtime_by_feature(package));
    }
    broken
}

/// Everything that a crate may use, by the arrows and the arrows of those; `None` where the crate
/// isn't in the table.
fn reachable(crate_name: &str) -> Option<Vec<&'static str>> {
    let direct = ARROWS.iter().find(|(from, _)| *from == crate_name)?.1;
    let mut all = direct.to_vec();
    for next in direct {
        all.extend(reachable(next).unwrap_or_default());
    }
    Some(all)
}

/// The runtime that a dependency is, or turns on in `cubecl`.
fn runtime(crate_name: &str, dependency: &Value) -> Option<String> {
    let used = name(dependency);
    let is_runtime = used.strip_prefix("cubecl-").is_some_and(is_runtime_name);
    let turned_on = (used == "cubecl")
        .then(|| strings(&dependency["features"]).find(|feature| is_runtime_name(feature)))
        .flatten();
    match (is_runtime, turned_on) {
        (true, _) => Some(format!(
            "{crate_name} uses {used}: it must not name a runtime"
        )),
        (_, Some(feature)) => Some(format!(
            "{crate_name} uses cubecl/{feature}: it must not name a runtime"
        )),
        _ => None,
    }
}

/// The runtimes that the features of a package would turn on.
fn runtime_by_feature(package: &Value) -> Vec<String> {
    let features = package["features"].as_object().into_iter().flatten();
    features
        .flat_map(|(feature, parts)| strings(parts).map(move |part| (feature, part)))
        .filter(|(_, part)| {
            let named = part
                .strip_prefix("cubecl/")
                .or_else(|| part.strip_prefix("cubecl?/"));
            named.is_some_and(is_runtime_name)
        })
        .map(|(feature, part)| {
            format!(
                "{}'s feature {feature} turns on {part}: it must not name a runtime",
                name(package)
            )
        })
        .collect()
}

/// Whether dp-core asks a dependency for more than `no_std` without an allocator.
fn needs_std(dependency: &Value) -> Option<String> {
    let used = name(dependency);
    if dependency["uses_default_features"] == true {
        return Some(format!(
            "dp-core uses {used} with its default features: they may need std"
        ));
    }
    let feature = strings(&dependency["features"]).find(|name| ["std", "alloc"].contains(name))?;
    Some(format!(
        "dp-core uses {used}/{feature}: it has neither std nor an allocator"
    ))
}

fn is_runtime_name(name: &str) -> bool {
    RUNTIMES.iter().any(|runtime| name.starts_with(runtime))
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(metadata, "packages")
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    value
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A workspace of `packages`, each with one dependency.
    fn workspace_of(packages: &[(&str, Value)]) -> Value {
        let packages: Vec<_> = packages
            .iter()
            .map(|(name, dependency)| json!({ "name": name, "dependencies": [dependency], "features": {} }))
            .collect();
        json!({ "packages": packages })
    }

    fn plain(name: &str) -> Value {
        json!({ "name": name, "kind": null, "optional": false, "uses_default_features": false,
                "features": [] })
    }

    fn assert_broken(from: &str, dependency: Value, expected: &str) {
        let members = [
            (from, dependency),
            ("dp-burn", plain("burn")),
            ("dp-engine", plain("dp-core")),
        ];
        let broken = violations(&workspace_of(&members));
        assert!(
            broken.len() == 1 && broken[0].contains(expected),
            "{from}: {broken:?}"
        );
    }

    #[test]
    fn this_workspace_keeps_the_rules() {
        assert_eq!(
            violations(&workspace::metadata().unwrap()),
            Vec::<String>::new()
        );
    }

    #[test]
    fn allowed_arrows_pass() {
        let with_cube = json!({ "name": "cubecl", "kind": null, "optional": true,
                                "uses_default_features": false, "features": ["std"] });
        let members = [
            ("dp-core", with_cube),
            ("dp-kernels", plain("dp-core")),
            ("dp-backend-cpu", plain("dp-core")),
            ("dp-burn", plain("dp-core")),
            ("dp-cli", plain("dp-engine")),
        ];
        assert_eq!(violations(&workspace_of(&members)), Vec::<String>::new());
    }

    #[test]
    fn wrong_arrows_are_found() {
        assert_broken("dp-core", plain("dp-engine"), "no such arrow");
        assert_broken("dp-backend-wgpu", plain("dp-burn"), "no such arrow");
        assert_broken("dp-kernels", plain("burn-cubecl"), "framework");
        assert_broken("dp-cli", plain("dp-benches"), "nothing may");
        assert_broken("dp-new", plain("serde"), "no place");
        let mut in_tests = plain("benches");
        in_tests["kind"] = json!("dev");
        assert_broken("dp-text", in_tests, "nothing may");
    }

    #[test]
    fn a_named_runtime_is_found() {
        assert_broken("dp-kernels", plain("cubecl-wgpu"), "runtime");
        let mut cubecl = plain("cubecl");
        cubecl["features"] = json!(["std", "cuda"]);
        assert_broken("dp-kernels", cubecl, "cubecl/cuda");

        let mut package = json!({ "name": "dp-kernels", "dependencies": [] });
        package["features"] = json!({ "fast": ["cubecl/wgpu-spirv"], "std": ["cubecl/std"] });
        let broken = violations(&json!({ "packages": [package] }));
        assert!(
            broken.len() == 1 && broken[0].contains("cubecl/wgpu-spirv"),
            "{broken:?}"
        );
    }

    #[test]
    fn std_below_dp_core_is_found() {
        let mut half = plain("half");
        half["features"] = json!(["alloc"]);
        assert_broken("dp-core", half, "half/alloc");
        let mut libm = plain("libm");
        libm["uses_default_features"] = json!(true);
        assert_broken("dp-core", libm, "default features");
    }
}
