//! Buffers that are used again and again.

/// The front of a buffer, which is made longer if need be and never shorter: what it holds is not zeroed again.
pub fn front(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if buffer.len() < bytes {
        buffer.resize(bytes, 0);
    }
    buffer.get_mut(..bytes).unwrap_or_default()
}
