//! What the server says about itself: a page for people, JSON and Prometheus's format for monitors.

mod choice;
mod handler;
mod html;
mod prometheus;
mod snapshot;
mod words;

pub use choice::Format;
pub use handler::content_handler;
