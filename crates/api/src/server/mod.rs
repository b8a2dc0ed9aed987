//! The HTTP server: from a connection to an operation, and back.
//!
//! It holds no state. What lasts longer than a request is in the engine's database and run directory; kill the server,
//! and containers, builds' results and clients' next calls are unharmed.

mod body;
mod engines;
mod exchange;
mod failure;
mod guard;
mod hijack;
mod limits;
mod listen;
mod outlet;
mod query;
pub(crate) mod reply;
mod route;
mod serve;
mod tls;
mod version;

pub use limits::Limits;
pub use listen::Listener;
pub use serve::{Server, ServerError};
pub use tls::{Tls, TlsError};
pub use version::ApiVersion;

pub(crate) use body::BodyReader;
pub(crate) use engines::{Engines, OpenEngine};
pub(crate) use exchange::Exchange;
pub(crate) use failure::Failure;
pub(crate) use hijack::Conversation;
pub(crate) use outlet::Outlet;
pub(crate) use query::Query;
pub(crate) use reply::Reply;
pub(crate) use route::{Method, Operation, Route};
