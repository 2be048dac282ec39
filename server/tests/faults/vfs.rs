//! SQLite's way to [`Disk`]: a VFS. What has nothing to do with files goes on to the VFS of the system.
//!
//! <https://www.sqlite.org/vfs.html> says what each call has to do.
#![expect(unsafe_code, reason = "SQLite calls these functions, with its own pointers")]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::slice;
use std::sync::{Arc, Once};

use libsqlite3_sys as ffi;

use crate::disk::{Call, Disk};
use crate::sharing::Opened;

/// Its name.
pub(crate) const NAME: &str = "lictor-faults";
const C_NAME: &CStr = c"lictor-faults";
const LONGEST_PATH: c_int = 512;

/// Makes it known to SQLite.
pub(crate) fn register() {
    static REGISTERED: Once = Once::new();
    REGISTERED.call_once(|| {
        // SAFETY: the VFS of the system is there as long as the process, and so is what is leaked.
        unsafe {
            let system = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!system.is_null());
            let vfs = ffi::sqlite3_vfs {
                iVersion: 2,
                szOsFile: size_of::<File>().try_into().unwrap(),
                mxPathname: LONGEST_PATH,
                zName: C_NAME.as_ptr(),
                xOpen: Some(open),
                xDelete: Some(delete),
                xAccess: Some(access),
                xFullPathname: Some(full_path),
                // Neither knows which VFS it belongs to.
                xRandomness: (*system).xRandomness,
                xSleep: (*system).xSleep,
                xCurrentTime: (*system).xCurrentTime,
                xCurrentTimeInt64: (*system).xCurrentTimeInt64,
                xGetLastError: Some(last_error),
                pNext: ptr::null_mut(),
                pAppData: ptr::null_mut(),
                xDlOpen: None,
                xDlError: None,
                xDlSym: None,
                xDlClose: None,
                xSetSystemCall: None,
                xGetSystemCall: None,
                xNextSystemCall: None,
            };
            let done = ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0);
            assert_eq!(done, ffi::SQLITE_OK);
        }
    });
}

/// An open file, as SQLite sees it.
#[repr(C)]
struct File {
    base: ffi::sqlite3_file,
    way: *mut Way,
}

/// An open file.
struct Way {
    disk: Arc<Disk>,
    name: Arc<str>,
    opened: Opened,
    goes_when_closed: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(shm_map),
    xShmLock: Some(shm_lock),
    xShmBarrier: Some(shm_barrier),
    xShmUnmap: Some(shm_unmap),
    xFetch: None,
    xUnfetch: None,
};

fn code(done: Result<(), c_int>) -> c_int {
    done.err().unwrap_or(ffi::SQLITE_OK)
}

/// SAFETY: for names that SQLite hands over, which end with zero.
unsafe fn disk_of(name: *const c_char) -> Option<(Arc<Disk>, Arc<str>)> {
    // SAFETY: the caller's.
    Disk::of(unsafe { CStr::from_ptr(name) }.to_str().ok()?)
}

/// SAFETY: for files that [`open`] opened and that are not closed.
unsafe fn way<'a>(file: *mut ffi::sqlite3_file) -> &'a Way {
    // SAFETY: `open` put a box there, and `close` takes it away last.
    unsafe { &*(*file.cast::<File>()).way }
}

unsafe extern "C" fn open(
    _vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite hands over a name or none, room for a `File`, and a place for the flags or none.
    unsafe {
        // What could not be opened is not closed.
        (*file).pMethods = ptr::null();
        let found = if name.is_null() {
            // For what does not fit into memory: nothing that has to last.
            Some((Disk::empty(), Arc::from("temporary")))
        } else {
            disk_of(name)
        };
        let Some((disk, name)) = found else { return ffi::SQLITE_CANTOPEN };
        let opened = match disk.open(&name) {
            Ok(opened) => opened,
            Err(code) => return code,
        };
        let goes_when_closed = flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0;
        (*file.cast::<File>()).way = Box::into_raw(Box::new(Way { disk, name, opened, goes_when_closed }));
        (*file).pMethods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_vfs: *mut ffi::sqlite3_vfs, name: *const c_char, _sync: c_int) -> c_int {
    // SAFETY: it is SQLite's name.
    if let Some((disk, name)) = unsafe { disk_of(name) } {
        disk.delete(&name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn access(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    _flags: c_int,
    out: *mut c_int,
) -> c_int {
    // SAFETY: it is SQLite's name, and a place for the answer.
    unsafe {
        *out = c_int::from(disk_of(name).is_some_and(|(disk, name)| disk.exists(&name)));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn full_path(
    _vfs: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    room: c_int,
    out: *mut c_char,
) -> c_int {
    // SAFETY: it is SQLite's name, and room for as many bytes as it says.
    unsafe {
        let name = CStr::from_ptr(name).to_bytes_with_nul();
        if name.len() > room.try_into().unwrap_or(0) {
            return ffi::SQLITE_CANTOPEN;
        }
        ptr::copy_nonoverlapping(name.as_ptr().cast(), out, name.len());
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn last_error(_vfs: *mut ffi::sqlite3_vfs, _room: c_int, _out: *mut c_char) -> c_int {
    0
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: it is open, and nobody uses it afterwards.
    let way = unsafe { Box::from_raw((*file.cast::<File>()).way) };
    // Without a fault that was asked for, neither fails.
    let _ = way.disk.locks(&way.name, None, |locks| locks.unlock(way.opened, ffi::SQLITE_LOCK_NONE));
    let _ = way.disk.shared(&way.name, None, |shared| shared.unmap(way.opened));
    if way.goes_when_closed {
        way.disk.delete(&way.name);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and there is room for so many bytes.
    let (way, into) =
        unsafe { (way(file), slice::from_raw_parts_mut(into.cast::<u8>(), count.try_into().unwrap())) };
    match way.disk.read(&way.name, at.try_into().unwrap(), into) {
        Ok(true) => ffi::SQLITE_OK,
        Ok(false) => ffi::SQLITE_IOERR_SHORT_READ,
        Err(code) => code,
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    count: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    // SAFETY: the file is open, and there are so many bytes.
    let (way, bytes) =
        unsafe { (way(file), slice::from_raw_parts(from.cast::<u8>(), count.try_into().unwrap())) };
    code(way.disk.write(&way.name, at.try_into().unwrap(), bytes))
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open.
    let way = unsafe { way(file) };
    code(way.disk.truncate(&way.name, len.try_into().unwrap()))
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _flags: c_int) -> c_int {
    // SAFETY: the file is open.
    let way = unsafe { way(file) };
    code(way.disk.sync(&way.name))
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, out: *mut ffi::sqlite3_int64) -> c_int {
    // SAFETY: the file is open, and there is a place for the answer.
    unsafe {
        let way = way(file);
        *out = way.disk.len(&way.name).try_into().unwrap();
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn lock(file: *mut ffi::sqlite3_file, wanted: c_int) -> c_int {
    // SAFETY: the file is open.
    let way = unsafe { way(file) };
    code(way.disk.locks(&way.name, Some(Call::Lock), |locks| locks.lock(way.opened, wanted)).flatten())
}

unsafe extern "C" fn unlock(file: *mut ffi::sqlite3_file, to: c_int) -> c_int {
    // SAFETY: the file is open.
    let way = unsafe { way(file) };
    code(way.disk.locks(&way.name, None, |locks| locks.unlock(way.opened, to)))
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: the file is open, and there is a place for the answer.
    unsafe {
        let way = way(file);
        let is_reserved = way.disk.locks(&way.name, None, |locks| locks.is_reserved());
        *out = c_int::from(is_reserved.unwrap_or(true));
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(_file: *mut ffi::sqlite3_file, _what: c_int, _arg: *mut c_void) -> c_int {
    ffi::SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_file: *mut ffi::sqlite3_file) -> c_int {
    c_int::try_from(crate::cuts::SECTOR).unwrap()
}

/// As the system's files have it: a write leaves the bytes beside it alone.
unsafe extern "C" fn device_characteristics(_file: *mut ffi::sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    region: c_int,
    bytes: c_int,
    make: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: the file is open, and there is a place for the answer.
    let (way, out) = unsafe { (way(file), &mut *out) };
    let (region, bytes) = (region.try_into().unwrap(), bytes.try_into().unwrap());
    let map = |shared: &mut crate::sharing::Shared| *out = shared.map(way.opened, region, bytes, make != 0);
    code(way.disk.shared(&way.name, Some(Call::ShareMemory), map))
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    first: c_int,
    count: c_int,
    flags: c_int,
) -> c_int {
    // SAFETY: the file is open.
    let way = unsafe { way(file) };
    let call = (flags & ffi::SQLITE_SHM_LOCK != 0).then_some(Call::LockMemory);
    let lock = |shared: &mut crate::sharing::Shared| shared.lock(way.opened, first, count, flags);
    code(way.disk.shared(&way.name, call, lock).flatten())
}

unsafe extern "C" fn shm_barrier(_file: *mut ffi::sqlite3_file) {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, _delete: c_int) -> c_int {
    // SAFETY: the file is open.
    let way = unsafe { way(file) };
    code(way.disk.shared(&way.name, None, |shared| shared.unmap(way.opened)))
}
