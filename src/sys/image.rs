//! The program's own image: where it was loaded, and which of its addresses are code.
//!
//! A function is named to another process that runs the same program by its distance from the load
//! bias. Both directions check that the address lies in an executable segment of the main image.
#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};
use std::ops::Range;
use std::sync::OnceLock;

/// More segments than this no linker makes for one image.
const CODE_MAX: usize = 16;

/// The main image of this process.
#[derive(Debug, Default)]
pub(crate) struct Image {
    bias: usize,
    code: [Range<usize>; CODE_MAX],
    /// What is loaded as it lies in the file, and never written to: code and constants.
    fixed: [Range<usize>; CODE_MAX],
    fingerprint: u64,
}

/// The image that the kernel started, as against the libraries that were loaded later.
pub(crate) fn main() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut image = Image::default();
        // SAFETY: the callback gets back the `Image` that is passed here, during this call only.
        unsafe { libc::dl_iterate_phdr(Some(read_first), (&raw mut image).cast()) };
        image
    })
}

impl Image {
    /// The distance of `function` from the load bias, if it is code of this image.
    pub(crate) fn offset_of(&self, function: *const ()) -> Option<u64> {
        let address = function.addr();
        if !self.is_code(address) {
            return None;
        }
        u64::try_from(address.checked_sub(self.bias)?).ok()
    }

    /// The address at `offset`, if it is code of this image.
    pub(crate) fn address_at(&self, offset: u64) -> Option<*const ()> {
        let address = self.bias.checked_add(usize::try_from(offset).ok()?)?;
        self.is_code(address).then(|| std::ptr::with_exposed_provenance(address))
    }

    /// Equal in two processes that run the same file; differs between most different programs.
    pub(crate) fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Equal in two processes that run the same program, be it in two copies of its file; differs
    /// between any two others whose code or constants differ, be it by one number.
    ///
    /// It is read from memory, all that is mapped without being writable at first: 1 ms for some
    /// 10 MB. What differs in initial values of statics alone, or in tables of pointers that are
    /// relocated (`.data`, `.data.rel.ro`), is not seen. And a breakpoint that a debugger has set
    /// in the code by then is.
    pub(crate) fn content(&self) -> u64 {
        static CONTENT: OnceLock<u64> = OnceLock::new();
        *CONTENT.get_or_init(|| self.fixed.iter().fold(self.fingerprint, mix_all))
    }

    fn is_code(&self, address: usize) -> bool {
        self.code.iter().any(|segment| segment.contains(&address))
    }
}

/// Reads the first object of the list, which is the main program (dl_iterate_phdr(3)), and stops.
extern "C" fn read_first(info: *mut libc::dl_phdr_info, _: usize, image: *mut c_void) -> c_int {
    // SAFETY: the dynamic linker passes a valid description for the length of this call.
    let info = unsafe { &*info };
    // SAFETY: `image` is the exclusive pointer that `main` passed to this iteration.
    let image = unsafe { &mut *image.cast::<Image>() };
    // SAFETY: the linker keeps `dlpi_phnum` headers at `dlpi_phdr` while the object is loaded.
    let headers =
        unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
    image.bias = info.dlpi_addr as usize;
    let (mut found, mut fixed) = (0, 0);
    for header in headers {
        let words = [u64::from(header.p_type), header.p_vaddr, header.p_memsz, header.p_filesz];
        image.fingerprint = words.iter().fold(image.fingerprint, |sum, word| mix(sum, *word));
        let start = image.bias.wrapping_add(header.p_vaddr as usize);
        let flags = header.p_flags & (libc::PF_R | libc::PF_W);
        if header.p_type == libc::PT_LOAD && flags == libc::PF_R && fixed < CODE_MAX {
            image.fixed[fixed] = start..start.saturating_add(header.p_filesz as usize);
            fixed += 1;
        }
        let is_code = header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_X != 0;
        if is_code && found < CODE_MAX {
            image.code[found] = start..start.saturating_add(header.p_memsz as usize);
            found += 1;
        }
    }
    1
}

fn mix(sum: u64, word: u64) -> u64 {
    // One round of FNV-1a over whole words: it need only tell one program from another.
    (sum ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17)
}

/// Mixes in all bytes of a segment.
fn mix_all(sum: u64, segment: &Range<usize>) -> u64 {
    let start = std::ptr::with_exposed_provenance::<u8>(segment.start);
    if start.is_null() {
        return sum;
    }
    // SAFETY: a segment of the main image that may be read and not written, of so many bytes; the
    // linker loaded it before any code of the program ran, and it is never unloaded.
    let bytes = unsafe { std::slice::from_raw_parts(start, segment.len()) };
    let (words, rest) = bytes.as_chunks::<8>();
    let sum = words.iter().fold(sum, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() {}

    #[test]
    fn a_function_comes_back_from_its_offset() {
        let function = here as fn() as *const ();
        let offset = main().offset_of(function).unwrap();
        assert_eq!(main().address_at(offset), Some(function));
    }

    #[test]
    fn data_and_libraries_are_not_code_of_the_image() {
        static DATA: u8 = 0;
        assert_eq!(main().offset_of((&raw const DATA).cast()), None);
        assert_eq!(
            main().offset_of(libc::getpid as unsafe extern "C" fn() -> i32 as *const ()),
            None
        );
        assert_eq!(main().offset_of(std::ptr::null()), None);
        assert_eq!(main().address_at(u64::MAX), None);
    }
    #[test]
    fn the_content_of_the_image_is_its_code_and_constants() {
        let image = main();
        let bytes: usize = image.fixed.iter().map(Range::len).sum();
        let function = (here as fn() as *const ()).addr();
        assert!(image.fixed.iter().any(|segment| segment.contains(&function)), "{image:?}");
        assert!(bytes > 1 << 20 && image.content() == image.content());
        assert_ne!(mix_all(image.fingerprint, &image.fixed[0]), image.fingerprint);
    }
}
