//! Big-endian numbers at an offset, without a panic when they are not there.

use super::WireError;

/// The 16-bit number at `at`.
pub(super) fn u16_at(message: &[u8], at: usize) -> Result<u16, WireError> {
    let octets = message
        .get(at..)
        .and_then(<[u8]>::first_chunk::<2>)
        .ok_or(WireError::Overrun)?;
    Ok(u16::from_be_bytes(*octets))
}

/// The 32-bit number at `at`.
pub(super) fn u32_at(message: &[u8], at: usize) -> Result<u32, WireError> {
    let octets = message
        .get(at..)
        .and_then(<[u8]>::first_chunk::<4>)
        .ok_or(WireError::Overrun)?;
    Ok(u32::from_be_bytes(*octets))
}
