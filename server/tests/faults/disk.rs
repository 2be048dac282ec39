//! A disk in memory: files, what happened to them in order, and what goes wrong when told to.
//!
//! A file is what the system would show of it. What is on the platter is told by [`crate::cuts`] from what happened.

use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError, Weak};

use libsqlite3_sys as ffi;

use crate::answers::Answered;
use crate::sharing::{Locks, Opened, Shared};

/// What files hold, by their names.
pub(crate) type Files = BTreeMap<Arc<str>, Vec<u8>>;

/// What is asked of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Open,
    Read,
    Write,
    Truncate,
    Sync,
    Lock,
    ShareMemory,
    LockMemory,
}

/// What happened, in order.
#[derive(Debug, Clone)]
pub(crate) enum Happened {
    Write {
        file: Arc<str>,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        file: Arc<str>,
        len: usize,
    },
    Sync {
        file: Arc<str>,
    },
    /// What was to be synced may be on the platter, and is not going to be written again.
    FailedSync {
        file: Arc<str>,
    },
    Delete {
        file: Arc<str>,
    },
    /// A caller has this answer.
    Answered(Answered),
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wrong {
    /// It fails.
    Fails,
    /// There is no room.
    Full,
    /// It does not end while the fault lasts.
    Hangs,
    /// It says that it is done, and the platter never sees it.
    Lies,
}

/// Which calls go wrong, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fault {
    pub(crate) of: fn(Call) -> bool,
    pub(crate) wrong: Wrong,
    /// So many of them go well first.
    pub(crate) after: u64,
    /// Then so many go wrong.
    pub(crate) times: u64,
}

/// The disk. Its database is at `path`.
#[derive(Debug)]
pub(crate) struct Disk {
    pub(crate) path: PathBuf,
    state: Mutex<State>,
    fault_ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    files: HashMap<Arc<str>, File>,
    happened: Vec<Happened>,
    fault: Option<Fault>,
    /// Calls that went wrong since a fault was set.
    hits: u64,
    opened: Opened,
}

#[derive(Debug, Default)]
struct File {
    bytes: Vec<u8>,
    locks: Locks,
    shared: Shared,
}

/// All disks, by the folder that their files are in.
static DISKS: LazyLock<Mutex<HashMap<String, Weak<Disk>>>> = LazyLock::new(Mutex::default);
static MADE: AtomicU64 = AtomicU64::new(0);

impl Disk {
    /// A disk that holds these files, all of them on the platter.
    pub(crate) fn holding(files: Files) -> Arc<Disk> {
        let folder = format!("/disk-{}", MADE.fetch_add(1, Ordering::Relaxed));
        let path = PathBuf::from(&folder).join("lictor.db");
        let file = |(name, bytes)| (name, File { bytes, ..File::default() });
        let state = State { files: files.into_iter().map(file).collect(), ..State::default() };
        let disk = Arc::new(Disk { path, state: Mutex::new(state), fault_ended: Condvar::new() });
        let mut disks = DISKS.lock().unwrap();
        disks.retain(|_, disk| disk.strong_count() > 0);
        disks.insert(folder, Arc::downgrade(&disk));
        disk
    }

    pub(crate) fn empty() -> Arc<Disk> {
        Disk::holding(Files::new())
    }

    /// The disk of a path, and what the file is called there.
    pub(crate) fn of(path: &str) -> Option<(Arc<Disk>, Arc<str>)> {
        let (folder, file) = path.rsplit_once('/')?;
        let disk = DISKS.lock().unwrap().get(folder)?.upgrade()?;
        Some((disk, Arc::from(file)))
    }

    /// Lets calls go wrong from now on.
    pub(crate) fn set(&self, fault: Fault) {
        let mut state = self.state();
        (state.fault, state.hits) = (Some(fault), 0);
    }

    /// Lets every call go well from now on, and says how many went wrong.
    pub(crate) fn mend(&self) -> u64 {
        let mut state = self.state();
        state.fault = None;
        self.fault_ended.notify_all();
        state.hits
    }

    /// Notes that a caller has an answer.
    pub(crate) fn answered(&self, answer: Answered) {
        self.state().happened.push(Happened::Answered(answer));
    }

    /// What its files hold, as the system shows it.
    pub(crate) fn files(&self) -> Files {
        let state = self.state();
        state.files.iter().map(|(name, file)| (Arc::clone(name), file.bytes.clone())).collect()
    }

    /// What happened so far.
    pub(crate) fn happened(&self) -> Vec<Happened> {
        self.state().happened.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets a call begin, unless it goes wrong: the state, and whether the platter is going to see it.
    fn begin(&self, call: Call) -> Result<(MutexGuard<'_, State>, bool), Wrong> {
        let mut state = self.state();
        let wrong = match &mut state.fault {
            Some(fault) if (fault.of)(call) && fault.after > 0 => {
                fault.after -= 1;
                None
            }
            Some(fault) if (fault.of)(call) && fault.times > 0 => {
                fault.times -= 1;
                Some(fault.wrong)
            }
            _ => None,
        };
        let Some(wrong) = wrong else { return Ok((state, true)) };
        state.hits += 1;
        match wrong {
            Wrong::Lies => Ok((state, false)),
            Wrong::Hangs => {
                let mended = self.fault_ended.wait_while(state, |state| state.fault.is_some());
                Ok((mended.unwrap_or_else(PoisonError::into_inner), true))
            }
            wrong => Err(wrong),
        }
    }

    pub(crate) fn open(&self, name: &Arc<str>) -> Result<Opened, c_int> {
        let (mut state, _) = self.begin(Call::Open).map_err(|_| ffi::SQLITE_CANTOPEN)?;
        state.files.entry(Arc::clone(name)).or_default();
        state.opened += 1;
        Ok(state.opened)
    }

    pub(crate) fn exists(&self, name: &str) -> bool {
        self.state().files.get(name).is_some_and(|file| !file.bytes.is_empty())
    }

    pub(crate) fn delete(&self, name: &Arc<str>) {
        let mut state = self.state();
        state.files.remove(name);
        state.happened.push(Happened::Delete { file: Arc::clone(name) });
    }

    /// Reads as much as there is, and zeros behind it: whether all was there.
    pub(crate) fn read(&self, name: &str, at: usize, into: &mut [u8]) -> Result<bool, c_int> {
        let (mut state, _) = self.begin(Call::Read).map_err(|_| ffi::SQLITE_IOERR_READ)?;
        let bytes = &state.file(name).bytes;
        let there = bytes.get(at..).unwrap_or_default();
        let count = there.len().min(into.len());
        into[..count].copy_from_slice(&there[..count]);
        into[count..].fill(0);
        Ok(count == into.len())
    }

    pub(crate) fn write(&self, name: &Arc<str>, at: usize, bytes: &[u8]) -> Result<(), c_int> {
        let (mut state, is_real) = self.begin(Call::Write).map_err(|wrong| match wrong {
            Wrong::Full => ffi::SQLITE_FULL,
            _ => ffi::SQLITE_IOERR_WRITE,
        })?;
        put(&mut state.file(name).bytes, at, bytes);
        if is_real {
            state.happened.push(Happened::Write { file: Arc::clone(name), at, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    pub(crate) fn truncate(&self, name: &Arc<str>, len: usize) -> Result<(), c_int> {
        let (mut state, is_real) = self.begin(Call::Truncate).map_err(|_| ffi::SQLITE_IOERR_TRUNCATE)?;
        state.file(name).bytes.resize(len, 0);
        if is_real {
            state.happened.push(Happened::Truncate { file: Arc::clone(name), len });
        }
        Ok(())
    }

    pub(crate) fn sync(&self, name: &Arc<str>) -> Result<(), c_int> {
        let file = Arc::clone(name);
        match self.begin(Call::Sync) {
            Ok((mut state, true)) => state.happened.push(Happened::Sync { file }),
            Ok((_, false)) => {}
            Err(_) => {
                self.state().happened.push(Happened::FailedSync { file });
                return Err(ffi::SQLITE_IOERR_FSYNC);
            }
        }
        Ok(())
    }

    pub(crate) fn len(&self, name: &str) -> usize {
        self.state().file(name).bytes.len()
    }

    /// Does something with the locks of a file.
    pub(crate) fn locks<T>(
        &self,
        name: &str,
        call: Option<Call>,
        what: impl FnOnce(&mut Locks) -> T,
    ) -> Result<T, c_int> {
        let mut state = match call {
            Some(call) => self.begin(call).map_err(|_| ffi::SQLITE_IOERR_LOCK)?.0,
            None => self.state(),
        };
        Ok(what(&mut state.file(name).locks))
    }

    /// Does something with what connections to a file share.
    pub(crate) fn shared<T>(
        &self,
        name: &str,
        call: Option<Call>,
        what: impl FnOnce(&mut Shared) -> T,
    ) -> Result<T, c_int> {
        let mut state = match call {
            Some(Call::LockMemory) => self.begin(Call::LockMemory).map_err(|_| ffi::SQLITE_IOERR_SHMLOCK)?.0,
            Some(call) => self.begin(call).map_err(|_| ffi::SQLITE_IOERR_SHMMAP)?.0,
            None => self.state(),
        };
        Ok(what(&mut state.file(name).shared))
    }
}

impl State {
    fn file(&mut self, name: &str) -> &mut File {
        if !self.files.contains_key(name) {
            self.files.insert(Arc::from(name), File::default());
        }
        self.files.get_mut(name).unwrap()
    }
}

/// Writes bytes into a file, which grows if it has to.
pub(crate) fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}
