//! The accountant never touches the heap.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use dp_core::accounting::{
    Accountant, Event, Pld, Run, calibrate_sigma, delta, epsilon, group_privacy, pld_workspace_len,
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
