//! The planner's choices by ceilings that are given, and that the run which measures them on the processor gives some.

use dp_kernels::{Ceilings, LayerShape, LinearNorm, Planner, Reason};

#[test]
fn the_processor_can_be_measured_and_planned_for() -> Result<(), Box<dyn std::error::Error>> {
    let backend = dp_backend_cpu::open()?;
    let ceilings = Ceilings::measure(&backend)?;
    println!("{ceilings}");
    let planner = Planner::measured(ceilings);
    for (examples, tokens, inputs, outputs) in [
        (32, 64, 128, 512),
        (16, 128, 256, 256),
        (16, 128, 256, 1024),
    ] {
        let shape = LayerShape {
            examples,
            tokens,
            inputs,
            outputs,
            element_bytes: 4,
        };
        let plan = planner.plan(shape, LinearNorm::Auto);
        println!("{plan}");
        assert_ne!(plan.how, LinearNorm::Auto);
    }
    Ok(())
}

fn shape(tokens: usize, inputs: usize, outputs: usize) -> LayerShape {
    LayerShape {
        examples: 8,
        tokens,
        inputs,
        outputs,
        element_bytes: 4,
    }
}

fn planner(read: f64, gram: f64, materialised: f64) -> Planner {
    Planner::measured(Ceilings::new(read, gram, materialised).expect("ceilings"))
}

/// At equal rates Gram wins up to `T = 2 d p / (d + p)`, which is 256 here; the rule would stop at 181.
#[test]
fn equal_rates_break_even_where_the_flop_do() {
    let equal = planner(1e12, 1e9, 1e9);
    let how = |tokens| equal.plan(shape(tokens, 256, 256), LinearNorm::Auto).how;
    assert_eq!([how(255), how(256)], [LinearNorm::Gram; 2]);
    assert_eq!([how(257), how(4096)], [LinearNorm::Materialised; 2]);
    let rule = Planner::by_rule().plan(shape(200, 256, 256), LinearNorm::Auto);
    assert_eq!(
        (rule.how, rule.reason),
        (LinearNorm::Materialised, Reason::Rule)
    );
}

/// A way whose kernel is four times as fast is taken up to four times as many FLOP.
#[test]
fn the_rate_of_each_way_counts_for_it_alone() {
    let how = |gram, materialised, tokens| {
        let planner = planner(1e15, gram, materialised);
        planner.plan(shape(tokens, 256, 256), LinearNorm::Auto).how
    };
    assert_eq!(how(4e9, 1e9, 1024), LinearNorm::Gram);
    assert_eq!(how(4e9, 1e9, 1025), LinearNorm::Materialised);
    assert_eq!(how(1e9, 4e9, 64), LinearNorm::Gram);
    assert_eq!(how(1e9, 4e9, 65), LinearNorm::Materialised);
}

/// Where reading A and G takes longer than either way's arithmetic, both take that long.
#[test]
fn bandwidth_bounds_both_ways() {
    let plan = planner(4e6, 1e12, 1e12).plan(shape(2, 16, 16), LinearNorm::Auto);
    let reading = 8.0 * 2.0 * 32.0 * 4.0 / 4e6;
    let want = Reason::Measured {
        gram: reading,
        materialised: reading,
    };
    assert_eq!(plan.reason, want);
}

#[test]
fn the_caller_and_a_single_token_come_first() {
    let slow_gram = planner(1e12, 1.0, 1e12);
    let asked = slow_gram.plan(shape(64, 8, 8), LinearNorm::Gram);
    assert_eq!((asked.how, asked.reason), (LinearNorm::Gram, Reason::Asked));
    let one = slow_gram.plan(shape(1, 8, 8), LinearNorm::Auto);
    assert_eq!(one.reason, Reason::OneToken);
}

#[test]
fn a_ceiling_that_is_no_rate_is_refused() {
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(Ceilings::new(bad, 1.0, 1.0).is_err());
        assert!(Ceilings::new(1.0, bad, 1.0).is_err());
        assert!(Ceilings::new(1.0, 1.0, bad).is_err());
    }
}
