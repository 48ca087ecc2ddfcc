//! The memory that launchers write intermediate results into: the caller's, or one that grows.

use crate::KernelError;
use core::cell::{Cell, RefCell};
use core::fmt;
use cubecl::{client::Client, server::Handle};

/// Memory for the intermediate results of launchers, so that a launch allocates nothing on the device.
///
/// Hand it to a launcher with [`Launch::with_workspace`](crate::Launch::with_workspace). It is either a buffer of the caller's
/// ([`in_buffer`](Self::in_buffer)) or one that grows to what the largest launcher needs and is kept
/// ([`growing`](Self::growing)): run one step with a growing one, and [`bytes`](Self::bytes) tells how large a buffer of your own has to be.
///
/// # Streams
/// Every launcher takes its memory from the start of the workspace, over what the launcher before it left there. Launches of
/// one stream run in order, so nothing is read after it was overwritten. Launches of two streams are not in order: give every
/// stream a workspace of its own, and make it on that stream (the runtime's stream is the thread's, unless the caller chose one).
///
/// # Privacy
/// A workspace holds what is private: parts of per-example norms, copies of activations and gradients. Nothing of it may be shown.
pub struct Workspace {
    memory: RefCell<Option<Handle>>,
    grows: bool,
    allocations: Cell<u64>,
}

impl Workspace {
    /// A workspace in `buffer`, which is overwritten. It never grows: a launcher that needs more answers
    /// [`KernelError::WorkspaceTooSmall`], which names the bytes.
    ///
    /// Where `buffer` starts at no multiple of the device's alignment, the bytes up to the next multiple are left out.
    #[must_use]
    pub fn in_buffer(buffer: Handle) -> Self {
        Self {
            memory: RefCell::new(Some(buffer)),
            grows: false,
            allocations: Cell::new(0),
        }
    }

    /// An empty workspace that grows where a launcher needs more than it has.
    ///
    /// It allocates while the first step meets larger and larger launchers, and never again for the same shapes.
    #[must_use]
    pub fn growing() -> Self {
        Self {
            memory: RefCell::new(None),
            grows: true,
            allocations: Cell::new(0),
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let memory = self.memory.borrow();
        memory.as_ref().map_or(0, Handle::size_in_used)
    }

    /// How often it allocated: of a buffer of the caller's never, and of a growing workspace no more after the warm-up.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.allocations.get()
    }

    /// A slice for each of `sizes`, which are multiples of the device's alignment. No two overlap.
    pub(crate) fn slices(
        &self,
        client: &Client,
        op: &'static str,
        sizes: &[u64],
    ) -> Result<Vec<Handle>, KernelError> {
        let needed = sizes.iter().sum();
        let memory = self.at_least(client, op, needed)?;
        let mut start = unaligned(client, &memory);
        let all = memory.size_in_used();
        let slice = |size: &u64| {
            let first = start;
            start += size;
            memory.clone().offset_start(first).offset_end(all - start)
        };
        Ok(sizes.iter().map(slice).collect())
    }

    /// Memory of `needed` usable bytes.
    fn at_least(
        &self,
        client: &Client,
        op: &'static str,
        needed: u64,
    ) -> Result<Handle, KernelError> {
        let mut memory = self.memory.borrow_mut();
        let available = memory.as_ref().map_or(0, |memory| {
            let unaligned = unaligned(client, memory);
            memory.size_in_used().saturating_sub(unaligned)
        });
        if let Some(memory) = memory.as_ref().filter(|_| available >= needed) {
            return Ok(memory.clone());
        }
        if !self.grows {
            return Err(KernelError::WorkspaceTooSmall {
                op,
                needed,
                available,
            });
        }
        // Launches that are under way keep the old buffer alive for as long as they read it.
        let larger = client.empty(needed as usize);
        self.allocations.set(self.allocations.get() + 1);
        *memory = Some(larger.clone());
        Ok(larger)
    }
}

/// How many bytes at the start of `memory` lie before the first place that the device can bind.
fn unaligned(client: &Client, memory: &Handle) -> u64 {
    let start = memory.offset_start.unwrap_or(0);
    start.next_multiple_of(alignment(client)) - start
}

/// The device binds buffers at multiples of this, and every element type fits there.
pub(crate) fn alignment(client: &Client) -> u64 {
    client.properties().memory.alignment.max(8)
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace")
            .field("bytes", &self.bytes())
            .field("grows", &self.grows)
            .field("allocations", &self.allocations.get())
            .finish()
    }
}
