//! The server's own log: on standard error, as lines for people on a terminal and as JSON everywhere else.
//!
//! One event is one line whatever its values hold: control characters and those that turn text around are escaped, and
//! values are cut. Nothing that a caller sent is logged but the id of its request; a panic is logged by where it
//! happened, as its message may quote what was sent.

use std::error::Error;
use std::fmt::{self, Debug, Write as _};
use std::io::{IsTerminal, stderr};
use std::panic::{PanicHookInfo, set_hook};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::HeaderValue;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::rfc3339;

/// Says what is logged, as `warn` or `info,lictor_server=debug`, on top of [`DEFAULT`].
const VARIABLE: &str = "LICTOR_LOG";
/// What the server does, and what goes wrong in a library. The code generator tells every function it makes.
const DEFAULT: &str = "warn,lictor_server=info,lictor_engine=info,cranelift_jit=warn";
/// The longest value, in bytes.
const MAX_VALUE: usize = 8 * 1024;

tokio::task_local! {
    /// The id of the request that is being answered.
    static REQUEST: HeaderValue;
}

/// Work whose log lines carry the id of its request.
pub async fn of_request<T>(id: &HeaderValue, work: impl Future<Output = T>) -> T {
    REQUEST.scope(id.clone(), work).await
}

/// Sends what is logged to standard error. A process that has a log already keeps it.
pub fn install() {
    let wanted = std::env::var(VARIABLE).unwrap_or_default();
    let filter = EnvFilter::builder().parse_lossy(format!("{DEFAULT},{wanted}"));
    let lines = Lines { as_json: !stderr().is_terminal() };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr).event_format(lines);
    if log.try_init().is_ok() {
        set_hook(Box::new(panicked));
    }
}

/// Logs that something panicked. Only a literal message is shown: others may quote what a caller sent.
fn panicked(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let message = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or_default();
    tracing::error!(place, panic = message, "something panicked");
}

/// How an event is written.
struct Lines {
    as_json: bool,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        if let Ok(id) = REQUEST.try_with(|id| id.to_str().unwrap_or_default().to_owned()) {
            fields.0.push(("request_id", Value::Text(id)));
        }
        let metadata = event.metadata();
        let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time = rfc3339(i64::try_from(passed.as_micros()).unwrap_or(i64::MAX));
        let (level, target) = (metadata.level(), metadata.target());
        let message = fields.take("message").unwrap_or(Value::Text(String::new()));
        if !self.as_json {
            write!(out, "{time} {level:>5} {target}: {}", Escaped(message.text()))?;
            for (name, value) in &fields.0 {
                write!(out, " {name}={}", Escaped(value.text()))?;
            }
            return writeln!(out);
        }
        write!(out, "{{\"timestamp\":\"{time}\",\"level\":\"{level}\",\"message\":")?;
        message.write_json(&mut out)?;
        for (name, value) in &fields.0 {
            write!(out, ",\"{}\":", Escaped(name))?;
            value.write_json(&mut out)?;
        }
        writeln!(out, ",\"target\":\"{}\"}}", Escaped(target))
    }
}

/// What an event says.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

enum Value {
    /// A number or a truth: as JSON writes it.
    Plain(String),
    Text(String),
}

impl Value {
    fn text(&self) -> &str {
        match self {
            Value::Plain(text) | Value::Text(text) => text,
        }
    }

    fn write_json(&self, out: &mut Writer<'_>) -> fmt::Result {
        match self {
            Value::Plain(text) => out.write_str(text),
            Value::Text(text) => write!(out, "\"{}\"", Escaped(text)),
        }
    }
}

impl Fields {
    fn take(&mut self, name: &str) -> Option<Value> {
        let place = self.0.iter().position(|(other, _)| *other == name)?;
        Some(self.0.remove(place).1)
    }

    fn text(&mut self, field: &Field, text: fmt::Arguments<'_>) {
        let mut cut = Cut::default();
        // It takes everything.
        let _ = cut.write_fmt(text);
        self.0.push((field.name(), Value::Text(cut.finish())));
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.push((field.name(), Value::Plain(value.to_string())));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    /// With everything that led to it.
    fn record_error(&mut self, field: &Field, error: &(dyn Error + 'static)) {
        let mut chain = error.to_string();
        let mut next = error.source();
        while let Some(cause) = next {
            chain.push_str(&format!(": {cause}"));
            next = cause.source();
        }
        self.record_str(field, &chain);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field, format_args!("{value:?}"));
    }
}

/// A text that takes no more than [`MAX_VALUE`] bytes and counts the rest.
#[derive(Default)]
struct Cut {
    text: String,
    left_out: usize,
}

impl Cut {
    fn finish(mut self) -> String {
        if self.left_out > 0 {
            self.text.push_str(&format!("… (cut: {} bytes more)", self.left_out));
        }
        self.text
    }
}

impl fmt::Write for Cut {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        let room = if self.left_out > 0 { 0 } else { MAX_VALUE - self.text.len() };
        let (kept, rest) = more.split_at(more.floor_char_boundary(room));
        self.text.push_str(kept);
        self.left_out += rest.len();
        Ok(())
    }
}

/// A text as it stands between the quotes of JSON, on one line and in the order that it is written in.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '"' => out.write_str("\\\"")?,
                '\\' => out.write_str("\\\\")?,
                '\n' => out.write_str("\\n")?,
                other if other.is_control() || turns_text(other) => {
                    write!(out, "\\u{:04x}", u32::from(other))?;
                }
                other => out.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// Whether it breaks lines, hides, or makes what follows show in another order.
fn turns_text(character: char) -> bool {
    matches!(character, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Kept {
        type Writer = Kept;

        fn make_writer(&self) -> Kept {
            self.clone()
        }
    }

    fn logged(as_json: bool, log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let subscriber =
            tracing_subscriber::fmt().with_writer(kept.clone()).event_format(Lines { as_json }).finish();
        tracing::subscriber::with_default(subscriber, log);
        String::from_utf8(kept.0.lock().unwrap().clone()).unwrap()
    }

    const HOSTILE: &str = "a\r\nINFO forged\x1b[31m\u{9b}\u{7f}\u{202e}\u{2028}\0\",\"level\":\"x\\ é";

    #[test]
    fn an_event_is_one_line_whatever_it_holds() {
        for as_json in [true, false] {
            let text = logged(as_json, || {
                tracing::info!(hostile = HOSTILE, shown = %HOSTILE, number = 7, "{HOSTILE}");
            });
            assert_eq!(text.matches('\n').count(), 1, "{text}");
            let bad = |c: char| c != '\n' && (c.is_control() || turns_text(c));
            assert!(!text.contains(bad), "{text:?}");
            assert!(text.contains("é"));
        }
    }

    #[test]
    fn json_gives_back_what_was_said() {
        let text = logged(true, || tracing::warn!(hostile = HOSTILE, number = -7, truth = true, "said"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["hostile"], HOSTILE);
        assert_eq!((&line["number"], &line["truth"]), (&serde_json::json!(-7), &serde_json::json!(true)));
        assert_eq!((&line["level"], &line["message"]), (&"WARN".into(), &"said".into()));
    }

    #[test]
    fn long_values_are_cut_and_say_so() {
        let long = "é".repeat(1_000_000);
        let text = logged(true, || tracing::info!(long, "said"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        let kept = line["long"].as_str().unwrap();
        assert!(kept.len() < MAX_VALUE + 64 && kept.ends_with("(cut: 1991808 bytes more)"), "{}", kept.len());
    }

    #[test]
    fn an_error_says_what_led_to_it() {
        let error =
            crate::ServeError::Listen { address: "a".to_owned(), source: io::Error::other("no\nsuch thing") };
        let text = logged(true, || tracing::error!(error = &error as &dyn Error, "failed"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["error"], "can't listen on a: no\nsuch thing");
    }

    #[tokio::test]
    async fn lines_carry_the_id_of_their_request() {
        let id = HeaderValue::from_static("my-id");
        let text = of_request(&id, async { logged(true, || tracing::info!("said")) }).await;
        assert!(text.contains("\"request_id\":\"my-id\""), "{text}");
        assert!(!logged(true, || tracing::info!("said")).contains("request_id"));
    }
}
