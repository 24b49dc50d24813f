//! Log lines of the drop-in form: the fields and words that tools written for Dapr look for.
//!
//! One idea: a line is `time, level, msg` and the constant fields of the process; the fields of an event follow its
//! message. Must never be used in platform mode, where `palladium-telemetry` logs.

use std::fmt::{self, Write as _};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::config::DAPR_VERSION;

/// Starts logging to standard output. A second call in one process changes nothing.
pub fn start(level: &str, json: bool, app_id: &str) {
    let level = match level.to_ascii_lowercase().as_str() {
        "debug" => LevelFilter::DEBUG,
        "trace" => LevelFilter::TRACE,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    // Libraries are only heard when something is wrong: their debug lines would show application traffic.
    let targets = Targets::new()
        .with_default(LevelFilter::WARN.min(level))
        .with_target("palladium", level);
    let format = DaprFormat {
        json,
        app_id: app_id.to_owned(),
    };
    let lines = tracing_subscriber::fmt::layer().event_format(format).with_ansi(false);
    // It would complain of an unwritable log by printing, which panics when standard error cannot be written either.
    let lines = lines.log_internal_errors(false);
    let _ = tracing_subscriber::registry().with(targets).with(lines).try_init();
}

/// Calls of the API: their fields stand beside the message, as tools look for them.
const CALLS: &str = "palladium::api";

/// Logs one call of the API. `size`: of its answer, where that is told.
pub fn called(protocol: &str, method: &str, code: i32, duration_ms: u128, size: Option<u64>, agent: &str) {
    let duration = u64::try_from(duration_ms).unwrap_or(u64::MAX);
    match size {
        Some(size) => {
            tracing::info!(target: CALLS, code, duration, method, size, useragent = agent, "{protocol} API Called");
        }
        None => tracing::info!(target: CALLS, code, duration, method, useragent = agent, "{protocol} API Called"),
    }
}

struct DaprFormat {
    json: bool,
    app_id: String,
}

impl<S, N> FormatEvent<S, N> for DaprFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut line = Line {
            beside: event.metadata().target() == CALLS,
            ..Line::default()
        };
        event.record(&mut line);
        let time = OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default();
        let level = match *event.metadata().level() {
            Level::ERROR => "error",
            Level::WARN => "warning",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "trace",
        };
        let scope = event.metadata().target();
        if self.json {
            let mut json = serde_json::json!({
                "app_id": self.app_id, "level": level, "msg": line.message, "scope": scope, "time": time, "type": "log",
                "ver": DAPR_VERSION,
            });
            for (name, value) in line.fields {
                // Numbers are numbers.
                json[name] = value.parse::<i64>().map_or_else(|_| value.into(), Into::into);
            }
            return writeln!(writer, "{json}");
        }
        let Self { app_id, .. } = self;
        let message = quoted(&line.message);
        write!(
            writer,
            "time=\"{time}\" level={level} msg=\"{message}\" app_id={app_id}"
        )?;
        for (name, value) in &line.fields {
            if !value.is_empty()
                && value
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte))
            {
                write!(writer, " {name}={value}")?;
            } else {
                write!(writer, " {name}=\"{}\"", quoted(value))?;
            }
        }
        writeln!(writer, " scope={scope} type=log ver={DAPR_VERSION}")
    }
}

/// Text that stays within its quotes and its line.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
}

/// The message and the other fields: behind it, or beside it.
#[derive(Default)]
struct Line {
    message: String,
    beside: bool,
    fields: Vec<(&'static str, String)>,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.beside && field.name() != "message" {
            self.fields.push((field.name(), format!("{value:?}")));
            return;
        }
        // Writing to a string cannot fail.
        let _ = match (field.name(), self.message.is_empty()) {
            ("message", true) => write!(self.message, "{value:?}"),
            ("message", false) => {
                self.message = format!("{value:?} {}", self.message);
                Ok(())
            }
            (name, true) => write!(self.message, "{name}={value:?}"),
            (name, false) => write!(self.message, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(json: bool, log: impl FnOnce()) -> String {
        let (kept, app_id) = (Written::default(), "a".to_owned());
        let writer = kept.clone();
        let lines = tracing_subscriber::fmt::layer()
            .event_format(DaprFormat { json, app_id })
            .with_writer(move || writer.clone())
            .with_ansi(false);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn calls_have_their_fields_beside_the_message_and_others_behind_it() {
        let call = || called("HTTP", "GET /v1.0/x\" y\n", 204, 3, Some(0), "agent");
        let line = written(false, call);
        let fields = r#"msg="HTTP API Called" app_id=a code=204 duration=3 method="GET /v1.0/x\" y\n" size=0 useragent=agent scope="#;
        assert!(line.contains(fields) && line.lines().count() == 1, "{line}");
        let line: serde_json::Value = serde_json::from_str(&written(true, call)).unwrap();
        assert_eq!((&line["msg"], &line["code"]), (&"HTTP API Called".into(), &204.into()));
        assert_eq!(line["method"], "GET /v1.0/x\" y\n");
        let line = written(false, || tracing::warn!(port = 3500, "words"));
        assert!(
            line.contains(r#"level=warning msg="words port=3500" app_id=a scope="#),
            "{line}"
        );
    }
}
