//! What may lie in memory that processes share.

use bytemuck::Pod;

/// Data that may lie in shared memory and be used there: all types that are [`bytemuck::Pod`].
///
/// Another process may write any bytes there at any time, so any bytes must be a value, and a value
/// must be nothing but its bytes. That is so of integers, floats, arrays of them, and of structs
/// that derive `bytemuck::Pod`.
///
/// It is not so of `bool` and enums, as most bytes are none of theirs: take an integer, `u8` for
/// `bool`.
///
/// ```compile_fail,E0277
/// let done = multiproc::Value::new(false)?;
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// #[derive(Clone, Copy)]
/// enum Light { Red, Green }
/// let light = multiproc::Value::new(Light::Red)?;
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// Nor of structs with padding, whose bytes are nobody's: make it a field.
///
/// ```compile_fail,E0277
/// #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Reading { sensor: u8, value: u64 }
/// let last = multiproc::Value::new(Reading { sensor: 1, value: 2 })?;
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// Nor of strings, vectors, references and all that points into the memory of one process: send
/// them through a [`Queue`](crate::Queue).
///
/// ```compile_fail,E0277
/// let name = multiproc::Value::new(String::from("name"))?;
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// ```compile_fail,E0277
/// let names = multiproc::Array::from_slice(&["a", "b"])?;
/// # Ok::<(), multiproc::Error>(())
/// ```
///
/// # Examples
///
/// A struct of one's own, in a program that has `bytemuck` with its feature `derive`:
///
/// ```
/// # /*
/// #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
/// # */
/// # #[derive(Clone, Copy)]
/// #[repr(C)]
/// struct Reading {
///     sensor: u32,
///     _padding: u32,
///     value: f64,
/// }
/// # // SAFETY: all fields are plain, and there is no padding.
/// # unsafe impl bytemuck::Zeroable for Reading {}
/// # // SAFETY: as above.
/// # unsafe impl bytemuck::Pod for Reading {}
///
/// let last = multiproc::Value::new(Reading { sensor: 1, _padding: 0, value: 0.5 })?;
/// assert_eq!(last.get()?.sensor, 1);
/// # Ok::<(), multiproc::Error>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot lie in memory that processes share",
    label = "not every bit pattern is a `{Self}`, or it has padding, or it points somewhere",
    note = "another process may write any bytes there, at any time, and an address means nothing \
            to it",
    note = "for `bool` take `u8`, for an enum an integer",
    note = "for a struct of plain fields: `#[repr(C)]`, padding made fields, and `#[derive(Clone, \
            Copy, bytemuck::Pod, bytemuck::Zeroable)]`",
    note = "for `String`, `Vec` and other rich types: send them through a `Queue`, or keep them in \
            a `Manager`"
)]
pub trait Data: Pod {}

#[diagnostic::do_not_recommend]
impl<T: Pod> Data for T {}
