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

/// The machine code of some routines. Freed when the last generation that uses one of them is gone.
pub(crate) struct Code {
    module: Mutex<Option<JITModule>>,
    functions: Vec<Function>,
}

enum Function {
    Alone(Entry),
    Sweep(Sweep),
}

/// Where a function is, and its signature.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Address {
    Alone(*const u8),
    Sweep(*const u8),
}

impl std::fmt::Debug for Code {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Code({} functions)", self.functions.len())
    }
}

impl Code {
    /// Takes a finished module and the addresses of its functions.
    #[expect(unsafe_code, reason = "an address becomes a function")]
    pub(crate) fn new(module: JITModule, addresses: &[Address]) -> Code {
        LIVE.fetch_add(1, Ordering::Relaxed);
        let function = |address: &Address| match *address {
            // SAFETY: the address is that of a finalized function with the signature of `Entry` (see `jit::define`), in
            // memory that lives until the module is freed in `drop`.
            Address::Alone(address) => {
                Function::Alone(unsafe { std::mem::transmute::<*const u8, Entry>(address) })
            }
            // SAFETY: the same with the signature of `Sweep`.
            Address::Sweep(address) => {
                Function::Sweep(unsafe { std::mem::transmute::<*const u8, Sweep>(address) })
            }
        };
        let functions = addresses.iter().map(function).collect();
        Code { module: Mutex::new(Some(module)), functions }
    }

    /// The truth of a rule that is called alone, by its n-th function.
    #[expect(unsafe_code, reason = "machine code is called")]
    pub(crate) fn call(&self, function: usize, call: &Call<'_, '_>, tables: &Tables) -> Truth {
        let Some(Function::Alone(entry)) = self.functions.get(function) else { return Truth::Unknown };
        // SAFETY: `entry` is code of this module, alive as long as `self`; `call` and `tables` are borrowed for the whole
        // call and hold the slots, bytes and tables that this routine reads.
        Truth::from_byte(unsafe { entry(call, tables) })
    }

    /// The truths of swept rules whose bit is set, where they are not false, by its n-th function.
    #[expect(unsafe_code, reason = "machine code is called")]
    pub(crate) fn sweep(
        &self,
        function: usize,
        wanted: u64,
        call: &Call<'_, '_>,
        tables: &Tables,
        mut each: impl FnMut(usize, Truth),
    ) {
        let mut truths = [0u8; RULES_PER_UNIT];
        match self.functions.get(function) {
            // SAFETY: as in `call`; the code writes one byte for a rule of its sweep, of which there are at most so many.
            Some(Function::Sweep(sweep)) => unsafe { sweep(call, tables, wanted, truths.as_mut_ptr()) },
            _ => truths = [Truth::Unknown as u8; RULES_PER_UNIT],
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

impl Drop for Code {
    #[expect(unsafe_code, reason = "a dropped module leaves its pages mapped")]
    fn drop(&mut self) {
        if let Some(module) = self.module.get_mut().ok().and_then(Option::take) {
            LIVE.fetch_sub(1, Ordering::Relaxed);
            // SAFETY: functions never leave this type and every call borrows it, so no thread runs this code.
            unsafe { module.free_memory() };
        }
    }
}
