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
        let mut line = Line::default();
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
            let line = serde_json::json!({
                "app_id": self.app_id, "level": level, "msg": line.0, "scope": scope, "time": time, "type": "log",
                "ver": DAPR_VERSION,
            });
            return writeln!(writer, "{line}");
        }
        let Self { app_id, .. } = self;
        let message = line.0.replace('"', "\\\"").replace('\n', "\\n");
        writeln!(
            writer,
            "time=\"{time}\" level={level} msg=\"{message}\" app_id={app_id} scope={scope} type=log ver={DAPR_VERSION}"
        )
    }
}

/// The message, then the other fields.
#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string cannot fail.
        let _ = match (field.name(), self.0.is_empty()) {
            ("message", true) => write!(self.0, "{value:?}"),
            ("message", false) => {
                self.0 = format!("{value:?} {}", self.0);
                Ok(())
            }
            (name, true) => write!(self.0, "{name}={value:?}"),
            (name, false) => write!(self.0, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }
}
