//! Names for the messages and services of BuildKit's protocol that are used here.

pub(super) use bollard_buildkit_proto::google::protobuf::Timestamp;
pub(super) use bollard_buildkit_proto::moby::buildkit::v1 as control;
pub(super) use bollard_buildkit_proto::pb;

/// Files on their way, in both directions.
pub(super) mod filesync {
    pub(in crate::buildkit) use bollard_buildkit_proto::fsutil::types::packet::PacketType;
    pub(in crate::buildkit) use bollard_buildkit_proto::fsutil::types::{Packet, Stat};
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::filesync::packet::file_send_client::FileSendClient as SendingFiles;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::filesync::packet::file_sync_client::FileSyncClient as Receiving;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::filesync::v1::BytesMessage;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::filesync::v1::file_send_client::FileSendClient as SendingBytes;
}

/// Who the user is at registries.
pub(super) mod auth {
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::filesync::v1::CredentialsRequest;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::filesync::v1::auth_client::AuthClient;
}

/// The user's secrets.
pub(super) mod secrets {
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::buildkit::secrets::v1::GetSecretRequest;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_client::SecretsClient;
}

/// The user's SSH agents.
pub(super) mod ssh {
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::sshforward::v1::ssh_client::SshClient;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::sshforward::v1::{
        BytesMessage, CheckAgentRequest,
    };
}

/// A context that the client reads from its standard input.
pub(super) mod upload {
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::upload::v1::upload_client::UploadClient;
}

/// The frontend's side of a build.
pub(super) mod gateway {
    pub(in crate::buildkit) use bollard_buildkit_proto::google::protobuf::Any;
    pub(in crate::buildkit) use bollard_buildkit_proto::google::rpc::Status as RpcStatus;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::buildkit::v1::apicaps::ApiCap;
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::buildkit::v1::frontend::llb_bridge_server::{
        LlbBridge, LlbBridgeServer,
    };
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::buildkit::v1::frontend::*;
}

/// Whether a server is well.
pub(super) mod health {
    pub(in crate::buildkit) use bollard_buildkit_proto::health::health_check_response::ServingStatus;
    pub(in crate::buildkit) use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
    pub(in crate::buildkit) use bollard_buildkit_proto::health::{
        HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
    };
}

/// Those who build.
pub(super) mod workers {
    pub(in crate::buildkit) use bollard_buildkit_proto::moby::buildkit::v1::types::{
        BuildkitVersion, WorkerRecord,
    };
}
