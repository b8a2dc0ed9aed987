//! `POST /grpc`: the client's connection, on which we serve.

use super::LARGEST_MESSAGE;
use super::control::ControlService;
use super::gateway::GatewayService;
use super::solve::Workshop;
use super::wire::control::control_server::ControlServer;
use super::wire::gateway::LlbBridgeServer;
use super::wire::health::{
    Health, HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse, HealthServer,
    ServingStatus,
};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic::{Request, Response, Status};

/// Serves on a connection to its end.
pub(crate) async fn serve(workshop: Workshop, connection: Upgraded) {
    let control =
        ControlServer::new(ControlService::new(workshop.clone())).max_decoding_message_size(LARGEST_MESSAGE);
    let gateway =
        LlbBridgeServer::new(GatewayService::new(workshop)).max_decoding_message_size(LARGEST_MESSAGE);
    let connection = Connection(TokioIo::new(connection));
    let incoming = futures_util::stream::once(std::future::ready(Ok::<_, io::Error>(connection)));
    let served = Server::builder()
        .add_service(control)
        .add_service(gateway)
        .add_service(HealthServer::new(Healthy))
        .serve_with_incoming(incoming)
        .await;
    // What breaks is the client's connection, and the client knows.
    drop(served);
}

/// A connection as the server wants it.
struct Connection(TokioIo<Upgraded>);

impl Connected for Connection {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Whoever can ask is answered.
#[derive(Debug)]
struct Healthy;

const SERVING: HealthCheckResponse = HealthCheckResponse {
    status: ServingStatus::Serving as i32,
};

#[tonic::async_trait]
impl Health for Healthy {
    type WatchStream = super::control::Answers<HealthCheckResponse>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(SERVING))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Ok(Response::new(HealthListResponse {
            statuses: HashMap::from([(String::new(), SERVING)]),
        }))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        use futures_util::StreamExt;
        // It does not change before the connection ends.
        let now = futures_util::stream::once(std::future::ready(Ok(SERVING)));
        Ok(Response::new(Box::pin(
            now.chain(futures_util::stream::pending()),
        )))
    }
}
