//! A disk that can be watched, that fails, and whose power can be cut: an SQLite VFS round the system's
//! own (<https://sqlite.org/vfs.html>).
//!
//! ```text
//! the library ─▶ SQLite ─▶ this VFS ─▶ SQLite's unix VFS ─▶ the real files
//!                            │ ▲
//!                     Record ▼ │ Faults          of directories that a test has named; others pass
//! ```
//!
//! It is registered as the default VFS of the process, so the library is as it is in a wallet. Reads
//! and locks pass untouched, and so does what is written to shared memory. What changes or extends a file is counted, recorded, and can be made to
//! fail. Real syncs are left out everywhere: what is durable is worked out from the record
//! (`after_loss.rs`), and a process that is killed needs none.
//!
//! # Why it is unsafe, and why that is sound
//!
//! A VFS is a C structure of functions. Each function here does no more than look at its arguments, call
//! the same function of the real VFS with the same arguments, and note what it did. What they rely on:
//!
//! * SQLite gives `xOpen` memory of `szOsFile` bytes, aligned to 8, that does not move until `xClose`.
//!   The first part of it is a [`File`], the rest is the real VFS's own file.
//! * The real VFS lives as long as the process, and so do the two structures here, which are leaked.
//! * SQLite calls the methods of one file from one thread at a time.
#![allow(unsafe_code)]

use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_void, CStr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::{Arc, Mutex, MutexGuard, Once, OnceLock, PoisonError};

use rusqlite::ffi;

/// Names a file whatever its name is: what an inode is to a file system.
pub type FileId = usize;

/// Something that happened to the disk.
#[derive(Clone)]
pub enum Op {
    /// The file was there before all else, with this content.
    Found {
        file: FileId,
        name: String,
        bytes: Vec<u8>,
    },
    /// An empty file of this name came into being.
    Create {
        file: FileId,
        name: String,
    },
    /// The library has given a file another name.
    Rename {
        from: String,
        to: String,
    },
    Delete {
        name: String,
        /// The directory was synced.
        durable: bool,
    },
    Write {
        file: FileId,
        at: usize,
        bytes: Arc<[u8]>,
    },
    Truncate {
        file: FileId,
        len: usize,
    },
    Sync {
        file: FileId,
        /// If not: what was written since the one before may be lost whatever a later one says, for a
        /// system tells of a failure only once.
        worked: bool,
        /// The directory as well.
        directory: bool,
    },
    /// A place that a test remembers.
    Note,
}

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// `SQLITE_FULL`
    Full,
    /// Half of it is written, then `SQLITE_FULL`.
    Short,
    /// `SQLITE_IOERR_WRITE`, and the like for other calls.
    Error,
    /// `SQLITE_READONLY`
    ReadOnly,
    /// It never returns: the process is to be killed there.
    Hang,
}

/// All that are an answer.
pub const FAULTS: [Fault; 4] = [Fault::Full, Fault::Short, Fault::Error, Fault::ReadOnly];

/// A watched directory. Dropping it ends the watch.
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ops: Vec<Op>,
    records: bool,
    names: BTreeMap<String, FileId>,
    files: usize,
    /// How many calls could have failed.
    calls: u64,
    /// The same of the databases themselves, without their logs.
    database_calls: u64,
    faults: Option<Faults>,
    /// How many did.
    failed: u64,
    /// One of them was to extend the index of the log.
    index_failed: bool,
}

struct Faults {
    fault: Fault,
    calls: Range<u64>,
    databases_alone: bool,
}

impl Disk {
    /// Watches what happens in `dir` from now on.
    pub fn watch(dir: &Path) -> Disk {
        register();
        std::fs::create_dir_all(dir).unwrap();
        let dir = dir.canonicalize().unwrap();
        let inner = Arc::new(Inner {
            dir,
            state: Mutex::default(),
        });
        lock(disks()).push(inner.clone());
        Disk { inner }
    }

    /// Keeps a record of all that happens, for [`ops`](Self::ops). Before anything is opened.
    pub fn record(self) -> Disk {
        self.state().records = true;
        self
    }

    /// All that has happened.
    pub fn ops(&self) -> Vec<Op> {
        self.state().ops.clone()
    }

    /// Marks this moment in the record. Returns where.
    pub fn note(&self) -> usize {
        let mut state = self.state();
        state.ops.push(Op::Note);
        state.ops.len()
    }

    /// Those of these numbers will fail, counted from the first call from now on.
    pub fn fail(&self, fault: Fault, calls: Range<u64>) {
        let mut state = self.state();
        (state.failed, state.index_failed) = (0, false);
        let now = state.calls;
        state.faults = Some(Faults {
            fault,
            calls: now.saturating_add(calls.start)..now.saturating_add(calls.end),
            databases_alone: false,
        });
    }

    /// The n-th call from now on that changes a database itself will fail. That is where pages are moved
    /// from the log.
    pub fn fail_database(&self, fault: Fault, call: u64) {
        let mut state = self.state();
        state.failed = 0;
        let call = state.database_calls + call;
        state.faults = Some(Faults {
            fault,
            calls: call..call + 1,
            databases_alone: true,
        });
    }

    /// Nothing fails any more. Returns how many calls have.
    pub fn heal(&self) -> u64 {
        let mut state = self.state();
        state.faults = None;
        std::mem::take(&mut state.failed)
    }

    /// How many calls have failed since [`fail`](Self::fail).
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    /// Whether one of those was to extend the index of the log.
    pub fn index_failed(&self) -> bool {
        self.state().index_failed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.inner.state)
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        lock(disks()).retain(|disk| !Arc::ptr_eq(disk, &self.inner));
    }
}

impl State {
    fn push(&mut self, op: impl FnOnce() -> Op) {
        if self.records {
            let op = op();
            self.ops.push(op);
        }
    }

    fn new_file(&mut self) -> FileId {
        self.files += 1;
        self.files
    }

    /// Whether this call fails, and how.
    fn fault(&mut self, is_database: bool) -> Option<Fault> {
        let (call, database_call) = (self.calls, self.database_calls);
        self.calls += 1;
        self.database_calls += u64::from(is_database);
        let faults = self.faults.as_ref()?;
        let is_meant = match faults.databases_alone {
            true => is_database && faults.calls.contains(&database_call),
            false => faults.calls.contains(&call),
        };
        if !is_meant {
            return None;
        }
        self.failed += 1;
        Some(faults.fault)
    }

    /// SQLite opens a file. Which it is.
    fn opened(&mut self, dir: &Path, name: &str, existed: bool) -> FileId {
        // The library makes a database under another name.
        let before = format!("{name}.new");
        if existed && self.names.contains_key(&before) && !dir.join(&before).exists() {
            if let Some(file) = self.names.remove(&before) {
                self.names.insert(name.to_owned(), file);
                self.push(|| Op::Rename {
                    from: before,
                    to: name.to_owned(),
                });
                return file;
            }
        }
        match (self.names.get(name), existed) {
            (Some(file), true) => *file,
            (None, true) => {
                let file = self.new_file();
                self.names.insert(name.to_owned(), file);
                let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
                self.push(|| Op::Found {
                    file,
                    name: name.to_owned(),
                    bytes,
                });
                file
            }
            (_, false) => {
                let file = self.new_file();
                self.names.insert(name.to_owned(), file);
                self.push(|| Op::Create {
                    file,
                    name: name.to_owned(),
                });
                file
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn disks() -> &'static Mutex<Vec<Arc<Inner>>> {
    static DISKS: Mutex<Vec<Arc<Inner>>> = Mutex::new(Vec::new());
    &DISKS
}

/// The watched directory that the file is in, and its name there.
fn watched(path: &str) -> Option<(Arc<Inner>, String)> {
    let path = Path::new(path);
    let (dir, name) = (path.parent()?, path.file_name()?.to_str()?);
    let disks = lock(disks());
    let disk = disks.iter().find(|disk| disk.dir == dir)?;
    Some((disk.clone(), name.to_owned()))
}

/// One that hangs does so without a lock, and says so: its parent is waiting for that.
fn take_fault(state: &mut MutexGuard<'_, State>, is_database: bool) -> Option<Fault> {
    let fault = state.fault(is_database);
    if fault == Some(Fault::Hang) {
        println!("\nhangs");
        // With the lock: nobody else gets any further either.
        loop {
            std::thread::park();
        }
    }
    fault
}

// ---- the VFS ------------------------------------------------------------------------------------

/// A pointer to a structure that lives as long as the process and that nobody changes.
struct Forever<T>(*mut T);
// SAFETY: see above.
unsafe impl<T> Send for Forever<T> {}
unsafe impl<T> Sync for Forever<T> {}

static REAL: OnceLock<Forever<ffi::sqlite3_vfs>> = OnceLock::new();

fn real() -> *mut ffi::sqlite3_vfs {
    REAL.get().expect("it is registered").0
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the system's VFS is there after the initialisation. The copy of it is leaked.
        unsafe {
            assert_eq!(ffi::sqlite3_initialize(), ffi::SQLITE_OK);
            let real = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!real.is_null());
            let mut vfs = ptr::read(real);
            vfs.szOsFile += size_of::<File>() as c_int;
            vfs.pNext = ptr::null_mut();
            vfs.zName = c"faulty".as_ptr();
            vfs.xOpen = Some(open);
            vfs.xDelete = Some(delete);
            assert!(REAL.set(Forever(real)).is_ok());
            let vfs = Box::leak(Box::new(vfs));
            assert_eq!(ffi::sqlite3_vfs_register(vfs, 1), ffi::SQLITE_OK);
        }
    });
}

/// What SQLite takes for its file. Behind it in memory comes the real one.
#[repr(C, align(8))]
struct File {
    base: ffi::sqlite3_file,
    watched: *mut Watched,
}

/// What is known of a file in a watched directory.
struct Watched {
    disk: Arc<Inner>,
    file: FileId,
    /// Its first sync has to make its name durable too. So it is with logs and journals.
    new_name: bool,
    is_database: bool,
}

/// # Safety
/// `file` is one that [`open`] has made.
unsafe fn real_file(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    file.cast::<u8>()
        .add(size_of::<File>())
        .cast::<ffi::sqlite3_file>()
}

/// # Safety
/// `file` is one that [`open`] has made.
unsafe fn watched_of<'a>(file: *mut ffi::sqlite3_file) -> Option<&'a mut Watched> {
    (*file.cast::<File>()).watched.as_mut()
}

unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: *const c_char,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let this = file.cast::<File>();
    ptr::write(
        this,
        File {
            base: ffi::sqlite3_file {
                pMethods: ptr::null(),
            },
            watched: ptr::null_mut(),
        },
    );
    let path = (!name.is_null()).then(|| CStr::from_ptr(name).to_string_lossy().into_owned());
    let place = path.as_deref().and_then(watched);
    let existed = path.as_deref().is_some_and(|path| Path::new(path).exists());
    if let Some((disk, _)) = place.as_ref().filter(|_| !existed) {
        if take_fault(&mut lock(&disk.state), false).is_some() {
            return ffi::SQLITE_CANTOPEN;
        }
    }
    let real_open = (*real()).xOpen.expect("a VFS opens files");
    let result = real_open(real(), name, real_file(file), flags, out);
    if result != ffi::SQLITE_OK {
        return result;
    }
    if let Some((disk, name)) = place {
        let id = lock(&disk.state).opened(&disk.dir, &name, existed);
        let journals = ffi::SQLITE_OPEN_MAIN_JOURNAL | ffi::SQLITE_OPEN_WAL;
        let new_name = flags & ffi::SQLITE_OPEN_CREATE != 0 && flags & journals != 0;
        let watched = Box::new(Watched {
            disk,
            file: id,
            new_name,
            is_database: flags & ffi::SQLITE_OPEN_MAIN_DB != 0,
        });
        (*this).watched = Box::into_raw(watched);
    }
    (*this).base.pMethods = &METHODS;
    ffi::SQLITE_OK
}

unsafe extern "C" fn delete(_: *mut ffi::sqlite3_vfs, name: *const c_char, sync: c_int) -> c_int {
    let real_delete = (*real()).xDelete.expect("a VFS deletes files");
    let Some((disk, name_there)) = watched(&CStr::from_ptr(name).to_string_lossy()) else {
        return real_delete(real(), name, sync);
    };
    let mut state = lock(&disk.state);
    if take_fault(&mut state, false).is_some() {
        return ffi::SQLITE_IOERR_DELETE;
    }
    let result = real_delete(real(), name, 0);
    if result == ffi::SQLITE_OK {
        state.names.remove(&name_there);
        state.push(|| Op::Delete {
            name: name_there,
            durable: sync != 0,
        });
    }
    result
}

/// Calls the same method of the real file.
macro_rules! pass {
    ($file: expr, $method: ident $(, $arg: expr)*) => {{
        let real = real_file($file);
        let method = (*(*real).pMethods).$method.expect("the system's VFS has it");
        method(real $(, $arg)*)
    }};
}

// Version 2: without memory-mapped pages, which would go round `write`.
static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock_file),
    xUnlock: Some(unlock_file),
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

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    let watched = std::mem::replace(&mut (*file.cast::<File>()).watched, ptr::null_mut());
    if !watched.is_null() {
        drop(Box::from_raw(watched));
    }
    pass!(file, xClose)
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    from: *const c_void,
    len: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    let Some(watched) = watched_of(file) else {
        return pass!(file, xWrite, from, len, at);
    };
    let mut state = lock(&watched.disk.state);
    let (written, answer) = match take_fault(&mut state, watched.is_database) {
        None => (len, ffi::SQLITE_OK),
        Some(Fault::Short) => (len / 2, ffi::SQLITE_FULL),
        Some(Fault::Full) => (0, ffi::SQLITE_FULL),
        Some(Fault::ReadOnly) => (0, ffi::SQLITE_READONLY),
        Some(Fault::Error | Fault::Hang) => (0, ffi::SQLITE_IOERR_WRITE),
    };
    if written > 0 {
        let result = pass!(file, xWrite, from, written, at);
        if result != ffi::SQLITE_OK {
            return result;
        }
        state.push(|| Op::Write {
            file: watched.file,
            at: at as usize,
            bytes: std::slice::from_raw_parts(from.cast::<u8>(), written as usize).into(),
        });
    }
    answer
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, len: ffi::sqlite3_int64) -> c_int {
    let Some(watched) = watched_of(file) else {
        return pass!(file, xTruncate, len);
    };
    let mut state = lock(&watched.disk.state);
    match take_fault(&mut state, watched.is_database) {
        None => {}
        Some(Fault::ReadOnly) => return ffi::SQLITE_READONLY,
        Some(_) => return ffi::SQLITE_IOERR_TRUNCATE,
    }
    let result = pass!(file, xTruncate, len);
    if result == ffi::SQLITE_OK {
        state.push(|| Op::Truncate {
            file: watched.file,
            len: len as usize,
        });
    }
    result
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    let Some(watched) = watched_of(file) else {
        return ffi::SQLITE_OK;
    };
    let mut state = lock(&watched.disk.state);
    let fault = take_fault(&mut state, watched.is_database);
    let worked = fault.is_none();
    let directory = worked && std::mem::take(&mut watched.new_name);
    state.push(|| Op::Sync {
        file: watched.file,
        worked,
        directory,
    });
    match fault {
        None => ffi::SQLITE_OK,
        Some(Fault::ReadOnly) => ffi::SQLITE_READONLY,
        Some(_) => ffi::SQLITE_IOERR_FSYNC,
    }
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    to: *mut c_void,
    len: c_int,
    at: ffi::sqlite3_int64,
) -> c_int {
    pass!(file, xRead, to, len, at)
}

unsafe extern "C" fn file_size(
    file: *mut ffi::sqlite3_file,
    size: *mut ffi::sqlite3_int64,
) -> c_int {
    pass!(file, xFileSize, size)
}

unsafe extern "C" fn lock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xLock, level)
}

unsafe extern "C" fn unlock_file(file: *mut ffi::sqlite3_file, level: c_int) -> c_int {
    pass!(file, xUnlock, level)
}

unsafe extern "C" fn check_reserved_lock(file: *mut ffi::sqlite3_file, out: *mut c_int) -> c_int {
    pass!(file, xCheckReservedLock, out)
}

unsafe extern "C" fn file_control(
    file: *mut ffi::sqlite3_file,
    what: c_int,
    arg: *mut c_void,
) -> c_int {
    pass!(file, xFileControl, what, arg)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xSectorSize)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    pass!(file, xDeviceCharacteristics)
}

/// The index of the log is a file that grows as well.
unsafe extern "C" fn shm_map(
    file: *mut ffi::sqlite3_file,
    page: c_int,
    size: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    if let Some(watched) = watched_of(file).filter(|_| extend != 0) {
        let mut state = lock(&watched.disk.state);
        let fault = take_fault(&mut state, false);
        state.index_failed |= fault.is_some();
        match fault {
            None => {}
            Some(Fault::Full | Fault::Short) => return ffi::SQLITE_IOERR_SHMSIZE,
            Some(_) => return ffi::SQLITE_IOERR_SHMMAP,
        }
    }
    pass!(file, xShmMap, page, size, extend, out)
}

unsafe extern "C" fn shm_lock(
    file: *mut ffi::sqlite3_file,
    offset: c_int,
    n: c_int,
    flags: c_int,
) -> c_int {
    pass!(file, xShmLock, offset, n, flags)
}

unsafe extern "C" fn shm_barrier(file: *mut ffi::sqlite3_file) {
    pass!(file, xShmBarrier)
}

unsafe extern "C" fn shm_unmap(file: *mut ffi::sqlite3_file, delete: c_int) -> c_int {
    pass!(file, xShmUnmap, delete)
}
