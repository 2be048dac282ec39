//! What connections to one file share: its locks, and the memory in which the log's index is.
#![expect(unsafe_code, reason = "SQLite keeps pointers to the shared memory")]

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};

use libsqlite3_sys as ffi;

/// A connection's way to a file.
pub(crate) type Opened = u64;

/// The locks of a file: who holds which.
#[derive(Debug, Default)]
pub(crate) struct Locks(HashMap<Opened, c_int>);

impl Locks {
    /// Takes a lock, if nobody else's keeps it from being taken.
    pub(crate) fn lock(&mut self, who: Opened, wanted: c_int) -> Result<(), c_int> {
        let held = self.0.get(&who).copied().unwrap_or(ffi::SQLITE_LOCK_NONE);
        if held >= wanted {
            return Ok(());
        }
        let others = self.of_others(who);
        let refused_from = match wanted {
            ffi::SQLITE_LOCK_SHARED => ffi::SQLITE_LOCK_PENDING,
            _ => ffi::SQLITE_LOCK_RESERVED,
        };
        if others >= refused_from {
            return Err(ffi::SQLITE_BUSY);
        }
        if wanted == ffi::SQLITE_LOCK_EXCLUSIVE && others >= ffi::SQLITE_LOCK_SHARED {
            // It keeps new readers out until those that are there have left.
            self.0.insert(who, ffi::SQLITE_LOCK_PENDING);
            return Err(ffi::SQLITE_BUSY);
        }
        self.0.insert(who, wanted);
        Ok(())
    }

    pub(crate) fn unlock(&mut self, who: Opened, to: c_int) {
        match to {
            ffi::SQLITE_LOCK_NONE => drop(self.0.remove(&who)),
            _ => drop(self.0.insert(who, to)),
        }
    }

    pub(crate) fn is_reserved(&self) -> bool {
        self.0.values().any(|held| *held >= ffi::SQLITE_LOCK_RESERVED)
    }

    fn of_others(&self, who: Opened) -> c_int {
        let others = self.0.iter().filter(|(other, _)| **other != who);
        others.map(|(_, held)| *held).max().unwrap_or(ffi::SQLITE_LOCK_NONE)
    }
}

/// Memory that connections share, with its locks. It is there as long as one of them uses it.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    regions: Vec<Region>,
    /// Who uses it, with the locks that they hold shared and those that they hold alone: one bit each.
    users: HashMap<Opened, (u32, u32)>,
}

impl Shared {
    /// A region of it, which is made if it is not there and that is wanted.
    pub(crate) fn map(&mut self, who: Opened, region: usize, bytes: usize, make: bool) -> *mut c_void {
        self.users.entry(who).or_default();
        while make && self.regions.len() <= region {
            self.regions.push(Region::new(bytes));
        }
        self.regions.get(region).map_or(ptr::null_mut(), |region| region.0.as_ptr().cast())
    }

    /// Takes or gives back locks, as the flags say.
    pub(crate) fn lock(
        &mut self,
        who: Opened,
        first: c_int,
        count: c_int,
        flags: c_int,
    ) -> Result<(), c_int> {
        let wanted = ((1_u32 << count) - 1) << first;
        let others = self.users.iter().filter(|(other, _)| **other != who);
        let (shared, alone) =
            others.fold((0, 0), |(shared, alone), (_, held)| (shared | held.0, alone | held.1));
        let held = self.users.entry(who).or_default();
        if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
            *held = (held.0 & !wanted, held.1 & !wanted);
        } else if flags & ffi::SQLITE_SHM_SHARED != 0 {
            if alone & wanted != 0 {
                return Err(ffi::SQLITE_BUSY);
            }
            held.0 |= wanted;
        } else {
            if (shared | alone) & wanted != 0 {
                return Err(ffi::SQLITE_BUSY);
            }
            held.1 |= wanted;
        }
        Ok(())
    }

    /// Somebody uses it no more.
    pub(crate) fn unmap(&mut self, who: Opened) {
        self.users.remove(&who);
        if self.users.is_empty() {
            self.regions.clear();
        }
    }
}

/// Zeroed memory that stays where it is.
#[derive(Debug)]
struct Region(NonNull<[u64]>);

// SAFETY: nothing here reads or writes it; SQLite does, and orders that by its locks and barriers.
unsafe impl Send for Region {}

impl Region {
    fn new(bytes: usize) -> Region {
        let memory = Box::leak(vec![0_u64; bytes.div_ceil(8)].into_boxed_slice());
        Region(NonNull::from(memory))
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: it comes from a box, and is dropped once nobody has it mapped.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}
