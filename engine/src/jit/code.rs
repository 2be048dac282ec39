//! Owns executable memory and calls into it: the home of `unsafe`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_jit::JITModule;

use super::abi::{Call, Entry, Tables};
use crate::truth::Truth;

/// Modules of machine code that are mapped now, in the whole process.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// How many modules of machine code are mapped now: flat over any number of swaps.
pub fn live_modules() -> usize {
    LIVE.load(Ordering::Relaxed)
}

/// The machine code of one unit. Freed when the last generation that uses it is gone.
pub(crate) struct Code {
    module: Mutex<Option<JITModule>>,
    entries: Vec<Entry>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} rules)", self.entries.len())
    }
}

impl Code {
    /// Takes a finished module and the addresses of its functions.
    #[expect(unsafe_code, reason = "an address becomes a function")]
    pub(crate) fn new(module: JITModule, addresses: &[*const u8]) -> Code {
        LIVE.fetch_add(1, Ordering::Relaxed);
        // SAFETY: each address is that of a finalized function with the signature of `Entry` (see `jit::compile`),
        // in memory that lives until the module is freed in `drop`.
        let entries = addresses
            .iter()
            .map(|address| unsafe { std::mem::transmute::<*const u8, Entry>(*address) })
            .collect();
        Code { module: Mutex::new(Some(module)), entries }
    }

    /// The truth of the condition of the unit's n-th rule.
    #[expect(unsafe_code, reason = "machine code is called")]
    pub(crate) fn call(&self, rule: usize, call: &Call<'_, '_>, tables: &Tables) -> Truth {
        let Some(entry) = self.entries.get(rule) else { return Truth::Unknown };
        // SAFETY: `entry` is code of this module, alive as long as `self`; `call` and `tables` are borrowed for the whole
        // call and hold the slots, bytes and tables that the code of this unit reads.
        Truth::from_byte(unsafe { entry(call, tables) })
    }
}

impl Drop for Code {
    #[expect(unsafe_code, reason = "a dropped module leaves its pages mapped")]
    fn drop(&mut self) {
        if let Some(module) = self.module.get_mut().ok().and_then(Option::take) {
            LIVE.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: entries never leave this type and every call borrows it, so no thread runs this code.
            unsafe { module.free_memory() };
        }
    }
}
