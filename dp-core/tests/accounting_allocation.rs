//! The accountant never touches the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dp_core::accounting::{
    Accountant, Adjacency, Bounds, Event, Gdp, Pld, Rdp, Run, Target, calibrate_noise,
    calibrate_rate, calibrate_sigma, calibrate_steps, delta, epsilon, group_privacy,
    membership_advantage, pld_workspace_len, positive_predictive_value, posterior_belief,
    remaining_epsilon, remaining_steps, renyi, trade_off_curve, true_positive_rate,
};

struct Counting;

std::thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: every call is passed on to the system allocator; counting is a thread-local cell without
// a destructor, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the pointer came from `alloc` above with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.with(Cell::get);
    work();
    ALLOCATIONS.with(Cell::get) - before
}

#[test]
#[cfg_attr(miri, ignore = "it asks every engine, which takes Miri many minutes")]
fn no_other_engine_or_query_allocates() {
    let step = Event::PoissonGaussian {
        rate: 0.01,
        sigma: 1.0,
    };
    let full = Event::Gaussian { sigma: 30.0 };
    let target = Target {
        epsilon: 2.0,
        delta: 1e-6,
    };
    let relation = Adjacency::AddRemove;
    let counted = allocations(|| {
        let events = [(step, 1000), (full, 3)];
        let run = Run::add_remove(&events);
        let mut betas = [Bounds {
            lower: 0.0,
            estimate: 0.0,
            upper: 0.0,
        }; 3];
        assert!(Rdp.epsilon(run, 1e-6).is_ok() && Rdp.delta(run, 1.0).is_ok());
        assert!(renyi(Run::replace_one(&events), 8.5).is_ok());
        assert!(Gdp.epsilon(run, 1e-6).is_ok() && Gdp.delta(run, 1.0).is_ok());
        assert!(trade_off_curve(&mut Rdp, run, &[0.01, 0.1, 0.5], &mut betas).is_ok());
        assert!(membership_advantage(&mut Rdp, run).is_ok());
        assert!(true_positive_rate(&mut Rdp, run, 0.01).is_ok());
        assert!(positive_predictive_value(&mut Rdp, run, 0.1, 0.01).is_ok());
        assert!(posterior_belief(&mut Rdp, run, 0.5, 1e-6).is_ok());
        let noise = |sigma| [(Event::PoissonGaussian { rate: 0.01, sigma }, 1000)];
        assert!(calibrate_noise(&mut Rdp, relation, target, 0.1..=100.0, noise).is_ok());
        let rate = |rate| [(Event::PoissonGaussian { rate, sigma: 1.0 }, 1000)];
        assert!(calibrate_rate(&mut Rdp, relation, target, 1e-6..=1.0, rate).is_ok());
        assert!(calibrate_steps(&mut Rdp, relation, target, 10_000, |n| [(step, n)]).is_ok());
        let mut scratch = [(step, 0); 3];
        let before = [(full, 1)];
        let spent = Run::add_remove(&before);
        assert!(remaining_steps(&mut Rdp, spent, target, step, &mut scratch).is_ok());
        assert!(remaining_epsilon(&mut Rdp, spent, target).is_ok());
    });
    assert_eq!(counted, 0);
}

#[test]
#[cfg_attr(miri, ignore = "it asks every engine, which takes Miri many minutes")]
fn no_query_allocates() {
    let sampled = Event::PoissonGaussian {
        rate: 0.01,
        sigma: 1.0,
    };
    let group = Event::GroupPoissonGaussian {
        rate: 0.01,
        sigma: 2.0,
        group: 16,
    };
    let full = Event::Gaussian { sigma: 30.0 };
    let mut workspace = vec![0.0; pld_workspace_len(1 << 10)];
    let counted = allocations(|| {
        let mut pld = Pld::new(&mut workspace).expect("workspace");
        let events = [(sampled, 100), (full, 3)];
        assert!(pld.epsilon(Run::add_remove(&events), 1e-6).is_ok());
        assert!(pld.delta(Run::add_remove(&events), 0.5).is_ok());
        assert!(epsilon(&[(sampled, 10_000), (full, 3)], 1e-6).is_ok());
        assert!(epsilon(&[(group, 100)], 1e-6).is_ok());
        assert!(epsilon(&[(full, 3)], 1e-6).is_ok());
        assert!(delta(&[(sampled, 1)], 0.5).is_ok());
        assert!(calibrate_sigma(2.0, 1e-6, 0.01, 1000).is_ok());
        assert!(epsilon(&[(sampled, 10)], f64::NAN).is_err());
        assert!(group_privacy(1.0, 1e-6, 16).0 > 0.0);
    });
    assert_eq!(counted, 0);
    // The counter itself works.
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}
