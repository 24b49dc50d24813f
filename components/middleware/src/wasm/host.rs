//! http-wasm's handler interface: what a module may ask and say about an exchange.
//!
//! One idea: one function of the interface is one entry here, and each asks [`at_request`] or [`changing`] whether it is the
//! time for it. Trailers are not shown: the feature is never granted, and whoever touches one breaks off. Must never answer
//! from anywhere but the exchange and the component's own text.

use wasmi::{Caller, Error, Linker};

use super::exchange::{BUFFER_REQUEST, BUFFER_RESPONSE, Done, Exchange, FEATURES, Message};
use super::guest::State;
use super::memory::{broken, charge, get, put, put_if_fits, put_list, size};

/// The name that modules import it by.
pub(super) const MODULE: &str = "http_handler";
/// Longest line of a log.
const MAX_LINE: usize = 4 << 10;
/// What a line costs, in bytes that are copied.
const LINE: usize = 16 << 20;

type Call<'a> = Caller<'a, State>;

/// Puts the interface where modules find it.
pub(super) fn define(linker: &mut Linker<State>) -> Result<(), Error> {
    linker
        .func_wrap(MODULE, "enable_features", enable_features)?
        .func_wrap(MODULE, "get_config", |mut call: Call<'_>, buf: i32, limit: i32| {
            let config = call.data().config.clone();
            put_if_fits(&mut call, buf, limit, &config)
        })?
        .func_wrap(MODULE, "log_enabled", |level: i32| i32::from(is_logged(level)))?
        .func_wrap(MODULE, "log", log)?
        .func_wrap(MODULE, "get_method", |mut call: Call<'_>, buf: i32, limit: i32| {
            let method = exchange(&mut call)?.method.clone();
            put_if_fits(&mut call, buf, limit, method.as_str().as_bytes())
        })?
        .func_wrap(MODULE, "set_method", |mut call: Call<'_>, at: i32, length: i32| {
            let method = get(&mut call, at, length)?;
            done(at_request(&mut call)?.set_method(&method))
        })?
        .func_wrap(MODULE, "get_uri", |mut call: Call<'_>, buf: i32, limit: i32| {
            let uri = exchange(&mut call)?.uri().to_owned();
            put_if_fits(&mut call, buf, limit, uri.as_bytes())
        })?
        .func_wrap(MODULE, "set_uri", |mut call: Call<'_>, at: i32, length: i32| {
            let uri = get(&mut call, at, length)?;
            done(at_request(&mut call)?.set_uri(&uri))
        })?
        .func_wrap(
            MODULE,
            "get_protocol_version",
            |mut call: Call<'_>, buf: i32, limit: i32| {
                let version = format!("{:?}", exchange(&mut call)?.version);
                put_if_fits(&mut call, buf, limit, version.as_bytes())
            },
        )?
        .func_wrap(MODULE, "get_source_addr", |mut call: Call<'_>, buf: i32, limit: i32| {
            // Nobody tells a piece of a pipeline where a call comes from.
            put_if_fits(&mut call, buf, limit, &[])
        })?;
    linker
        .func_wrap(MODULE, "get_header_names", header_names)?
        .func_wrap(MODULE, "get_header_values", header_values)?
        .func_wrap(
            MODULE,
            "set_header_value",
            |mut call: Call<'_>, kind: i32, name: i32, name_len: i32, value: i32, value_len: i32| {
                let (name, value) = (get(&mut call, name, name_len)?, get(&mut call, value, value_len)?);
                done(headers(&mut call, kind)?.set(&name, &value, false))
            },
        )?
        .func_wrap(
            MODULE,
            "add_header_value",
            |mut call: Call<'_>, kind: i32, name: i32, name_len: i32, value: i32, value_len: i32| {
                let (name, value) = (get(&mut call, name, name_len)?, get(&mut call, value, value_len)?);
                done(headers(&mut call, kind)?.set(&name, &value, true))
            },
        )?
        .func_wrap(
            MODULE,
            "remove_header",
            |mut call: Call<'_>, kind: i32, name: i32, name_len: i32| {
                let name = get(&mut call, name, name_len)?;
                done(headers(&mut call, kind)?.remove(&name))
            },
        )?
        .func_wrap(MODULE, "read_body", read_body)?
        .func_wrap(MODULE, "write_body", write_body)?
        .func_wrap(MODULE, "get_status_code", |mut call: Call<'_>| {
            Ok::<_, Error>(i32::from(exchange(&mut call)?.status.as_u16()))
        })?
        .func_wrap(MODULE, "set_status_code", |mut call: Call<'_>, status: i32| {
            done(changing(&mut call)?.set_status(status.cast_unsigned()))
        })?;
    Ok(())
}

fn done<T>(done: Done<T>) -> Result<T, Error> {
    done.map_err(broken)
}

/// What the module is asked about.
fn exchange<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Exchange, Error> {
    charge(call, 0)?;
    let found = call.data_mut().exchange.as_mut();
    found.ok_or_else(|| broken("there is no request yet"))
}

/// For what is done to a request, which has gone on when the answer is there.
fn at_request<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Exchange, Error> {
    let exchange = exchange(call)?;
    if exchange.is_answered {
        return Err(broken("can't change a request after next handler"));
    }
    Ok(exchange)
}

/// For what is done to an answer: its own, or one that it has asked for.
fn changing<'a>(call: &'a mut Call<'_>) -> Result<&'a mut Exchange, Error> {
    let exchange = exchange(call)?;
    if exchange.is_answered && exchange.features & BUFFER_RESPONSE == 0 {
        return Err(broken(
            "can't change an answer after next handler unless buffer_response is enabled",
        ));
    }
    Ok(exchange)
}

fn enable_features(mut call: Call<'_>, wanted: i32) -> Result<i32, Error> {
    charge(&mut call, 0)?;
    let state = call.data_mut();
    let features = match &mut state.exchange {
        Some(exchange) => &mut exchange.features,
        None => &mut state.features,
    };
    *features |= wanted.cast_unsigned() & FEATURES;
    Ok(features.cast_signed())
}

/// Debug, information, warning and error are -1 to 2.
fn is_logged(level: i32) -> bool {
    match level {
        -1 => tracing::enabled!(tracing::Level::DEBUG),
        0 => tracing::enabled!(tracing::Level::INFO),
        1 => tracing::enabled!(tracing::Level::WARN),
        2 => tracing::enabled!(tracing::Level::ERROR),
        _ => false,
    }
}

fn log(mut call: Call<'_>, level: i32, at: i32, length: i32) -> Result<(), Error> {
    if !is_logged(level) {
        return charge(&mut call, 0);
    }
    // A log is not for everything that a module can say.
    charge(&mut call, LINE)?;
    let line = get(&mut call, at, length)?;
    let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE)]);
    match level {
        -1 => tracing::debug!("{line}"),
        0 => tracing::info!("{line}"),
        1 => tracing::warn!("{line}"),
        _ => tracing::error!("{line}"),
    }
    Ok(())
}

/// Headers of the request are 0, of the answer 1; 2 and 3 are trailers.
fn headers<'a>(call: &'a mut Call<'_>, kind: i32) -> Result<&'a mut Message, Error> {
    match kind {
        0 => Ok(&mut at_request(call)?.request),
        1 => Ok(&mut changing(call)?.answer),
        2 | 3 => Err(broken("trailers are not supported")),
        _ => Err(broken("unsupported header kind")),
    }
}

/// The same, to be looked at; trailers there are none.
fn seen<'a>(call: &'a mut Call<'_>, kind: i32) -> Result<Option<&'a Message>, Error> {
    let exchange = exchange(call)?;
    match kind {
        0 => Ok(Some(&exchange.request)),
        1 => Ok(Some(&exchange.answer)),
        2 | 3 => Ok(None),
        _ => Err(broken("unsupported header kind")),
    }
}

fn header_names(mut call: Call<'_>, kind: i32, buf: i32, limit: i32) -> Result<i64, Error> {
    let names = seen(&mut call, kind)?.map(Message::names).unwrap_or_default();
    let names: Vec<Vec<u8>> = names.into_iter().map(<[u8]>::to_vec).collect();
    put_list(&mut call, buf, limit, &names)
}

fn header_values(mut call: Call<'_>, kind: i32, name: i32, name_len: i32, buf: i32, limit: i32) -> Result<i64, Error> {
    let name = get(&mut call, name, name_len)?;
    let values = match seen(&mut call, kind)? {
        Some(message) => done(message.values(&name))?,
        None => Vec::new(),
    };
    let values: Vec<Vec<u8>> = values.into_iter().map(<[u8]>::to_vec).collect();
    put_list(&mut call, buf, limit, &values)
}

/// The body of the request is 0, of the answer 1.
fn read_body(mut call: Call<'_>, kind: i32, buf: i32, limit: i32) -> Result<i64, Error> {
    if limit == 0 {
        return Err(broken("buf_limit==0 reading body"));
    }
    let exchange = exchange(&mut call)?;
    let message = match kind {
        0 if !exchange.is_answered || exchange.features & BUFFER_REQUEST != 0 => &mut exchange.request,
        0 => {
            return Err(broken(
                "can't read request body after next handler unless buffer_request is enabled",
            ));
        }
        1 if !exchange.is_answered || exchange.features & BUFFER_RESPONSE != 0 => &mut exchange.answer,
        1 => {
            return Err(broken(
                "can't read response body after next handler unless buffer_response is enabled",
            ));
        }
        _ => return Err(broken("unsupported body kind")),
    };
    let (piece, is_end) = message.read(size(limit));
    put(&mut call, buf, &piece)?;
    Ok(i64::from(is_end) << 32 | piece.len() as i64)
}

fn write_body(mut call: Call<'_>, kind: i32, at: i32, length: i32) -> Result<(), Error> {
    let piece = get(&mut call, at, length)?;
    let message = match kind {
        0 => &mut at_request(&mut call)?.request,
        1 => &mut changing(&mut call)?.answer,
        _ => return Err(broken("unsupported body kind")),
    };
    done(message.write(&piece))
}
