//! How much memory modules may have.
//!
//! One idea: an instance has a bound, and all of them in the process have one together; what is not granted fails in the
//! module, as the language has it. Must never count what is given back as still held.

use std::sync::atomic::{AtomicUsize, Ordering};

use wasmi_core::{LimiterError, MemoryError, ResourceLimiter};

/// Of one instance, in bytes.
pub(super) const MAX_MEMORY: usize = 64 << 20;
/// Of all instances.
const MAX_ALL: usize = 256 << 20;
/// Elements of an instance's tables.
const MAX_ELEMENTS: usize = 200_000;

static ALL: AtomicUsize = AtomicUsize::new(0);

/// Whether one that is idle may be kept. Beyond half of all memory it makes room: those of one module would otherwise keep
/// others from ever having any.
pub(super) fn may_idle() -> bool {
    ALL.load(Ordering::Relaxed) <= MAX_ALL / 2
}

/// What one instance has.
#[derive(Default)]
pub(super) struct Limits {
    bytes: usize,
    /// What was granted last, which may yet turn out not to be had.
    last: usize,
    elements: usize,
}

type Granted = Result<bool, LimiterError>;

impl ResourceLimiter for Limits {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Granted {
        self.last = 0;
        let more = desired.saturating_sub(current);
        if self.bytes + more > MAX_MEMORY {
            return Ok(false);
        }
        let room = |all: usize| all.checked_add(more).filter(|all| *all <= MAX_ALL);
        if ALL.try_update(Ordering::Relaxed, Ordering::Relaxed, room).is_err() {
            return Ok(false);
        }
        self.bytes += more;
        self.last = more;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, _: &MemoryError) -> Result<(), LimiterError> {
        let last = std::mem::take(&mut self.last);
        self.bytes -= last;
        ALL.fetch_sub(last, Ordering::Relaxed);
        Ok(())
    }

    fn table_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> Granted {
        let elements = self.elements + desired.saturating_sub(current);
        if elements > MAX_ELEMENTS {
            return Ok(false);
        }
        self.elements = elements;
        Ok(true)
    }

    fn instances(&self) -> usize {
        1
    }

    fn tables(&self) -> usize {
        8
    }

    fn memories(&self) -> usize {
        1
    }
}

impl Drop for Limits {
    fn drop(&mut self) {
        ALL.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_to_be_had_is_given_back_once() {
        let failed = MemoryError::OutOfSystemMemory;
        let mut limits = Limits::default();
        assert!(limits.memory_growing(0, 1 << 20, None).unwrap());
        assert!(limits.memory_growing(1 << 20, 2 << 20, None).unwrap());
        limits.memory_grow_failed(&failed).unwrap();
        assert_eq!(limits.bytes, 1 << 20);
        assert!(limits.memory_growing(1 << 20, 2 << 20, None).unwrap());
        assert!(!limits.memory_growing(2 << 20, 2 * MAX_MEMORY, None).unwrap());
        limits.memory_grow_failed(&failed).unwrap();
        assert_eq!(limits.bytes, 2 << 20, "that was not granted");
    }
}
