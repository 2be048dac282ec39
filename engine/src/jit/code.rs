//! Owns executable memory and calls into it: the home of `unsafe`.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use cranelift_jit::JITModule;

use super::abi::{Call, Entry, Sweep, Tables};
use crate::limits::RULES_PER_UNIT;
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
    /// For each rule that is called alone its function.
    entries: Vec<Option<Entry>>,
    sweep: Option<Sweep>,
}

/// Where the functions of a unit are.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    pub entries: Vec<Option<*const u8>>,
    pub sweep: Option<*const u8>,
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} rules)", self.entries.len())
    }
}

impl Code {
    /// Takes a finished module and the addresses of its functions.
    #[expect(unsafe_code, reason = "an address becomes a function")]
    pub(crate) fn new(module: JITModule, addresses: &Addresses) -> Code {
        LIVE.fetch_add(1, Ordering::Relaxed);
        // SAFETY: each address is that of a finalized function with the signature of `Entry` (see `jit::compile`),
        // in memory that lives until the module is freed in `drop`.
        let entry = |address: *const u8| unsafe { std::mem::transmute::<*const u8, Entry>(address) };
        // SAFETY: the same with the signature of `Sweep`.
        let sweep = |address: *const u8| unsafe { std::mem::transmute::<*const u8, Sweep>(address) };
        let entries = addresses.entries.iter().map(|address| address.map(entry)).collect();
        Code { module: Mutex::new(Some(module)), entries, sweep: addresses.sweep.map(sweep) }
    }

    /// The truth of the condition of the unit's n-th rule.
    #[expect(unsafe_code, reason = "machine code is called")]
    pub(crate) fn call(&self, rule: usize, call: &Call<'_, '_>, tables: &Tables) -> Truth {
        let Some(Some(entry)) = self.entries.get(rule) else { return Truth::Unknown };
        // SAFETY: `entry` is code of this module, alive as long as `self`; `call` and `tables` are borrowed for the whole
        // call and hold the slots, bytes and tables that the code of this unit reads.
        Truth::from_byte(unsafe { entry(call, tables) })
    }

    /// The truths of the swept rules whose bit is set, where they are not false.
    #[expect(unsafe_code, reason = "machine code is called")]
    pub(crate) fn sweep(
        &self,
        wanted: u64,
        call: &Call<'_, '_>,
        tables: &Tables,
        mut each: impl FnMut(usize, Truth),
    ) {
        let mut truths = [0u8; RULES_PER_UNIT];
        match self.sweep {
            // SAFETY: as in `call`; the code writes one byte for a rule of its unit, of which there are at most so many.
            Some(sweep) => unsafe { sweep(call, tables, wanted, truths.as_mut_ptr()) },
            None => truths = [Truth::Unknown as u8; RULES_PER_UNIT],
        }
        // Mostly nothing matches: eight rules are passed over at once.
        for (group, eight) in truths.chunks_exact(8).enumerate() {
            if eight.iter().all(|truth| *truth == Truth::False as u8) {
                continue;
            }
            for (place, truth) in eight.iter().enumerate() {
                let rule = group * 8 + place;
                if *truth != Truth::False as u8 && wanted >> rule & 1 == 1 {
                    each(rule, Truth::from_byte(*truth));
                }
            }
        }
    }
}

// SAFETY: tables are read only, and point into vectors that nobody changes while the unit lives beside them.
#[expect(unsafe_code, reason = "pointers are not sent by themselves")]
unsafe impl Send for Tables {}
// SAFETY: the same.
#[expect(unsafe_code, reason = "pointers are not shared by themselves")]
unsafe impl Sync for Tables {}

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
