//! How the parts of a shared library are aligned: a device with 16 KiB pages does not load one that was
//! linked for smaller ones. What `readelf -lW` shows, without a `readelf`.

use std::fs;
use std::path::Path;

use crate::shell::Outcome;

const PT_LOAD: u32 = 1;

/// An error, unless each loaded part of the library is aligned to `page` bytes or a multiple.
pub fn has_pages_of(page: u64, library: &Path) -> Outcome {
    let file = fs::read(library).map_err(|error| format!("{}: {error}", library.display()))?;
    let alignments = load_alignments(&file)
        .ok_or_else(|| format!("{}: no 64-bit little-endian ELF file", library.display()))?;
    match alignments.iter().all(|align| align % page == 0) {
        true if !alignments.is_empty() => Ok(()),
        _ => Err(format!(
            "{}: its parts are aligned to {alignments:?} bytes, not to {page}; see .cargo/config.toml",
            library.display()
        )),
    }
}

/// `p_align` of each `PT_LOAD` (ELF-64 object file format, program header).
fn load_alignments(file: &[u8]) -> Option<Vec<u64>> {
    const CLASS_64_LITTLE_ENDIAN: [u8; 6] = [0x7f, b'E', b'L', b'F', 2, 1];
    if !file.starts_with(&CLASS_64_LITTLE_ENDIAN) {
        return None;
    }
    let number = |at: usize, bytes: usize| {
        let field = file.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    };
    let headers = usize::try_from(number(0x20, 8)?).ok()?;
    let size = usize::try_from(number(0x36, 2)?).ok()?;
    let count = usize::try_from(number(0x38, 2)?).ok()?;
    let mut alignments = Vec::new();
    for index in 0..count {
        let header = headers.checked_add(index * size)?;
        if number(header, 4)? == u64::from(PT_LOAD) {
            alignments.push(number(header + 0x30, 8)?);
        }
    }
    Some(alignments)
}

#[cfg(test)]
mod tests {
    use super::{has_pages_of, load_alignments};

    #[test]
    #[cfg(all(target_os = "linux", target_pointer_width = "64"))]
    fn this_very_program_has_pages_of_4_kib_at_least_and_none_of_a_gigabyte() {
        let program = std::env::current_exe().unwrap();
        has_pages_of(4096, &program).unwrap();
        has_pages_of(1 << 30, &program).unwrap_err();
    }

    #[test]
    fn what_is_cut_or_no_elf_file_is_an_error() {
        let mut cut = vec![0x7f, b'E', b'L', b'F', 2, 1];
        assert_eq!(load_alignments(&cut), None);
        cut.resize(0x40, 0xff);
        assert_eq!(load_alignments(&cut), None);
        assert_eq!(load_alignments(b"MZ"), None);
    }
}
