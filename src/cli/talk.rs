//! Prints events of the libraries to stderr, one per line: "warning: …", "error: …", and information without a
//! prefix.

use std::fmt::{self, Debug};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry;

/// Starts to print events.
pub(super) fn begin() {
    // A program that uses this library may have set a subscriber of its own, which stays.
    let _ = tracing::subscriber::set_global_default(registry().with(Talk));
}

struct Talk;

impl<S: Subscriber> Layer<S> for Talk {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let prefix = match *event.metadata().level() {
            Level::ERROR => "error: ",
            Level::WARN => "warning: ",
            Level::INFO => "",
            // For people who debug this program; they need another subscriber.
            _ => return,
        };
        let mut message = Message(prefix.to_owned());
        event.record(&mut message);
        say!("{}", message.0);
    }
}

/// The text of an event.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = fmt::write(&mut self.0, format_args!("{value:?}"));
        }
    }
}
