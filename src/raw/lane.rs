//! stub
#[repr(C)]
pub(crate) struct Lane {
    x: crate::shim::AtomicU32,
}
impl Lane {
    pub(crate) fn sweep(&self, _id: u32, _died: bool) {}
}
