//! The planner's choices by ceilings that are given, and that the run which measures them on the processor gives some.

use dp_kernels::{Ceilings, LayerPlan, LayerShape, LinearNorm, Planner, Rates, Reason};

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
    let rates = Rates {
        read_bytes: read,
        keep_bytes: read,
        gram_flop: gram,
        materialised_flop: materialised,
        sum_flop: materialised,
    };
    Planner::measured(Ceilings::new(rates).expect("ceilings"))
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

/// What is kept of these layers, in tokens.
fn kept(planner: Planner, shapes: &[LayerShape]) -> Vec<usize> {
    let plans = planner.plan_step(shapes, LinearNorm::Auto);
    assert_eq!(plans.len(), shapes.len());
    let of = |plan: &LayerPlan| plan.kept.map(|_| plan.shape.tokens);
    plans.iter().filter_map(of).collect()
}

/// At equal rates of products keeping saves the norm and costs `B d p` numbers written and read, and has to be a quarter quicker: here
/// `2 T d p / 1e12 + 2 * 4 d p / 1e11 = 3/4 (T^2 (d + p) + 2 T d p) / 1e12` at T = 167.1, where it is quicker from T = 101.2 on.
#[test]
fn gradients_are_kept_where_that_is_a_quarter_quicker() {
    let planner = planner(1e11, 1e12, 1e12).with_memory_to_keep(u64::MAX);
    let shapes = [167, 168, 1024, 1].map(|tokens| shape(tokens, 256, 256));
    assert_eq!(kept(planner, &shapes), [168, 1024]);
    let plan = planner.plan_step(&shapes, LinearNorm::Auto)[2];
    let saves = 2.0 * 8.0 * 1024.0 * 65536.0 / 1e12 - 2.0 * 8.0 * 4.0 * 65536.0 / 1e11;
    let found = plan.kept.expect("it is kept");
    assert_eq!(found.bytes, 8 * 65536 * 4);
    let error = found.saves.expect("by ceilings") / saves - 1.0;
    assert!(error.abs() < 1e-12, "{error:e}");
    assert!(
        plan.to_string().contains("kept in 2.1 MB, which saves"),
        "{plan}"
    );
}

/// Each of what keeping costs and spares counts by its own rate.
#[test]
fn a_sum_a_write_and_a_read_of_what_is_kept_have_their_own_rates() {
    let rates = Rates {
        read_bytes: 1e11,
        keep_bytes: 1e11,
        gram_flop: 1e12,
        materialised_flop: 1e12,
        sum_flop: 1e12,
    };
    let shortest_kept = |rates: Rates| {
        let planner = Planner::measured(Ceilings::new(rates).expect("ceilings"));
        let shapes: Vec<_> = (2..4096).map(|tokens| shape(tokens, 256, 256)).collect();
        kept(planner.with_memory_to_keep(u64::MAX), &shapes)[0]
    };
    assert_eq!(shortest_kept(rates), 168);
    // Four times the writing: 2.5 times the traffic.
    let keep_bytes = rates.keep_bytes / 4.0;
    assert_eq!(
        shortest_kept(Rates {
            keep_bytes,
            ..rates
        }),
        233
    );
    // A sum that is slower by a tenth spares 0.1 * 2 T d p FLOP more, of which three quarters count.
    let sum_flop = rates.sum_flop / 1.1;
    assert_eq!(shortest_kept(Rates { sum_flop, ..rates }), 151);
}

/// Memory goes first to what saves the most for each byte, and to what fits.
#[test]
fn memory_is_given_to_those_that_save_the_most_for_each_byte() {
    let a_layer = shape(1024, 256, 256).kept_bytes();
    let shapes = [512, 2048, 1024].map(|tokens| shape(tokens, 256, 256));
    let within = |bytes| {
        kept(
            planner(1e11, 1e12, 1e12).with_memory_to_keep(bytes),
            &shapes,
        )
    };
    assert_eq!(within(a_layer - 1), [] as [usize; 0]);
    assert_eq!(within(a_layer), [2048]);
    assert_eq!(within(3 * a_layer - 1), [2048, 1024]);
    assert_eq!(within(3 * a_layer), [512, 2048, 1024]);
    // The largest saves the most and doesn't fit: the next has its place.
    let large = [shape(2048, 512, 512), shape(1024, 256, 256)];
    let planner = planner(1e11, 1e12, 1e12).with_memory_to_keep(2 * a_layer);
    assert_eq!(kept(planner, &large), [1024]);
}

/// Without ceilings: 32 FLOP of the norm for each byte, `T^2 * 512 > 32 * 4 * 65536` here.
#[test]
fn by_the_rule_a_byte_must_save_32_flop() {
    let planner = Planner::by_rule().with_memory_to_keep(u64::MAX);
    let shapes = [128, 129, 1].map(|tokens| shape(tokens, 256, 256));
    assert_eq!(kept(planner, &shapes), [129]);
    assert_eq!(kept(Planner::by_rule(), &shapes), [] as [usize; 0]);
    let asked = planner.plan_step(&shapes, LinearNorm::Materialised);
    assert!(
        asked.iter().all(|plan| plan.kept.is_none()),
        "asked for another way"
    );
}

#[test]
fn a_ceiling_that_is_no_rate_is_refused() {
    let good = Rates {
        read_bytes: 1.0,
        keep_bytes: 1.0,
        gram_flop: 1.0,
        materialised_flop: 1.0,
        sum_flop: 1.0,
    };
    assert!(Ceilings::new(good).is_ok());
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let broken = [
            Rates {
                read_bytes: bad,
                ..good
            },
            Rates {
                keep_bytes: bad,
                ..good
            },
            Rates {
                gram_flop: bad,
                ..good
            },
            Rates {
                materialised_flop: bad,
                ..good
            },
            Rates {
                sum_flop: bad,
                ..good
            },
        ];
        for rates in broken {
            assert!(Ceilings::new(rates).is_err(), "{rates:?}");
        }
    }
}
