//! A module's memory, read and written for it.
//!
//! One idea: every access is checked against the memory as it is now, and costs steps by its length. Must never trust a
//! number that a module gives.

use wasmi::{Caller, Error, Extern, Memory, TrapCode};

use super::guest::State;

/// Steps of one call of the host, and bytes that are copied in a step.
const CALL: u64 = 100;
const BYTES: usize = 16;
/// What one of several texts costs, in bytes.
const TEXT: usize = 64;

/// Takes steps away for so many bytes.
pub(super) fn charge(caller: &mut Caller<'_, State>, bytes: usize) -> Result<(), Error> {
    let cost = CALL + (bytes / BYTES) as u64;
    let left = caller.get_fuel()?.checked_sub(cost);
    caller.set_fuel(left.ok_or(Error::from(TrapCode::OutOfFuel))?)
}

/// An error that ends the module's call.
pub(super) fn broken(reason: &str) -> Error {
    Error::new(reason.to_owned())
}

fn memory(caller: &Caller<'_, State>) -> Result<Memory, Error> {
    let found = caller.get_export("memory").and_then(Extern::into_memory);
    found.ok_or_else(|| broken("it has no memory"))
}

/// From a module's number, which has no sign.
pub(super) fn size(said: i32) -> usize {
    said.cast_unsigned() as usize
}

/// Bytes out of the memory.
pub(super) fn get(caller: &mut Caller<'_, State>, at: i32, length: i32) -> Result<Vec<u8>, Error> {
    charge(caller, size(length))?;
    let memory = memory(caller)?;
    let data = memory.data(&*caller);
    let end = size(at).checked_add(size(length));
    let found = end.and_then(|end| data.get(size(at)..end));
    found
        .map(<[u8]>::to_vec)
        .ok_or_else(|| broken("out of bounds memory access"))
}

/// Bytes into the memory.
pub(super) fn put(caller: &mut Caller<'_, State>, at: i32, bytes: &[u8]) -> Result<(), Error> {
    charge(caller, bytes.len())?;
    let memory = memory(caller)?;
    let data = memory.data_mut(&mut *caller);
    let end = size(at).checked_add(bytes.len());
    let place = end.and_then(|end| data.get_mut(size(at)..end));
    place
        .ok_or_else(|| broken("out of bounds memory access"))?
        .copy_from_slice(bytes);
    Ok(())
}

/// Bytes into the memory, unless they are more than `limit`; their number in any case.
pub(super) fn put_if_fits(caller: &mut Caller<'_, State>, at: i32, limit: i32, bytes: &[u8]) -> Result<i32, Error> {
    if bytes.len() <= size(limit) && !bytes.is_empty() {
        put(caller, at, bytes)?;
    } else {
        charge(caller, 0)?;
    }
    i32::try_from(bytes.len()).map_err(|_| broken("it is too long"))
}

/// Texts with a zero behind each, unless they are more than `limit`; their number and that of the bytes in any case.
pub(super) fn put_list(caller: &mut Caller<'_, State>, at: i32, limit: i32, texts: &[Vec<u8>]) -> Result<i64, Error> {
    let mut bytes = Vec::new();
    for text in texts {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    // They were put in order, wanted or not.
    charge(caller, bytes.len() + TEXT * texts.len())?;
    let length = put_if_fits(caller, at, limit, &bytes)?;
    Ok((texts.len() as i64) << 32 | i64::from(length))
}
