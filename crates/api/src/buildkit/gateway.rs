//! The frontend's side of a build. buildx runs a frontend of its own, which has the real one build what the user wants,
//! and returns the result by the name that it got here.

use super::attributes::Options;
use super::calls::Metadata;
use super::control::{Answers, blocking, frontend, worker};
use super::jobs::Job;
use super::solve::{self, Built, Solve, Workshop};
use super::wire::gateway::{
    ApiCap, EvaluateRequest, EvaluateResponse, ExecMessage, InputsRequest, InputsResponse, LlbBridge,
    NewContainerRequest, NewContainerResponse, PingRequest, PongResponse, ReadDirRequest, ReadDirResponse,
    ReadFileRequest, ReadFileResponse, Ref, ReleaseContainerRequest, ReleaseContainerResponse,
    ResolveImageConfigRequest, ResolveImageConfigResponse, ResolveSourceMetaRequest,
    ResolveSourceMetaResponse, Result as FrontendResult, ReturnRequest, ReturnResponse, SolveRequest,
    SolveResponse, StatFileRequest, StatFileResponse, WarnRequest, WarnResponse, result,
};
use super::{SolveError, definitions};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tonic::{Request, Response, Status, Streaming};

/// What names the build that a call belongs to.
const BUILD: &str = "buildkit-controlapi-buildid";
/// What this service does, in BuildKit's words.
const GATEWAY: [&str; 10] = [
    "solve.base",
    "solve.inlinereturn",
    "return",
    "returnmap",
    "proto.refarray",
    "reference.output",
    "frontend.caps",
    "gateway.warnings",
    "gateway.evaluate",
    "gateway.solve.evaluate",
];
/// What of build graphs our builder has, for clients that ask before they use it.
const GRAPHS: [&str; 27] = [
    "source.image",
    "source.image.resolvemode",
    "source.local",
    "source.local.unique",
    "source.local.sessionid",
    "source.local.includepatterns",
    "source.local.followpaths",
    "source.local.excludepatterns",
    "source.local.sharedkeyhint",
    "source.git",
    "source.git.keepgitdir",
    "source.http",
    "source.http.checksum",
    "exec.meta.base",
    "exec.meta.network",
    "exec.meta.security",
    "exec.meta.ulimit",
    "exec.mount.cache",
    "exec.mount.secret",
    "exec.mount.ssh",
    "exec.secretenv",
    "file.base",
    "constraints",
    "platform",
    "exporter.multiple",
    "exporter.image.annotations",
    "exporter.sourcedateepoch",
];

/// The service, on one connection.
#[derive(Debug)]
pub(super) struct GatewayService {
    workshop: Workshop,
}

impl GatewayService {
    pub(super) fn new(workshop: Workshop) -> Self {
        Self { workshop }
    }

    /// Returns the build that a call belongs to.
    async fn job<T: Sync>(&self, request: &Request<T>) -> Result<Arc<Job>, Status> {
        let name = request.metadata().get(BUILD).and_then(|name| name.to_str().ok());
        let Some(name) = name else {
            return Err(Status::invalid_argument("no buildid found in context"));
        };
        let found = self.workshop.engines.hub().jobs.find(name).await;
        found.ok_or_else(|| Status::not_found(format!("no such job {name}")))
    }

    async fn build(&self, job: Arc<Job>, request: SolveRequest) -> Result<Answer, SolveError> {
        if request
            .definition
            .is_some_and(|definition| !definition.def.is_empty())
        {
            return Err(SolveError::Unsupported(
                "a build graph of the client's own (LLB)".to_owned(),
            ));
        }
        frontend(&request.frontend, &request.frontend_opt)?;
        job.recorder.options(&request.frontend, &request.frontend_opt);
        let options = Options::parse(&request.frontend_opt.into_iter().collect())?;
        let solve = Solve {
            options,
            session: job.solve.session.clone(),
            allowed: job.solve.allowed,
            outputs: job.solve.outputs.clone(),
            inputs: definitions::inputs(request.frontend_inputs)?,
            caches: job.solve.caches.clone(),
            credentials: HashMap::new(),
            classic: false,
            tar: Mutex::new(None),
        };
        let workshop = self.workshop.clone();
        blocking(move || {
            if solve.options.call.is_some() {
                return solve::call(&workshop, &solve, &job.progress, &job.cancelled).map(Answer::Said);
            }
            let built = Arc::new(solve::build(
                &workshop,
                &solve,
                &job.progress,
                &|_| {},
                &job.cancelled,
            )?);
            let mut results = job.results.lock().unwrap_or_else(PoisonError::into_inner);
            let name = format!("result-{}", results.len() + 1);
            results.insert(name.clone(), Arc::clone(&built));
            Ok(Answer::Built(name, built))
        })
        .await
    }
}

/// What a frontend gets.
enum Answer {
    /// A result: its name, and what it is.
    Built(String, Arc<Built>),
    /// What there is to say of the Dockerfile.
    Said(Metadata),
}

fn unimplemented<T>(what: &str) -> Result<Response<T>, Status> {
    Err(Status::unimplemented(format!("{what} is not supported")))
}

/// Returns the one result that a frontend names; empty if it has none.
fn name_of(result: FrontendResult) -> Result<String, SolveError> {
    let mut names: Vec<String> = match result.result {
        None => Vec::new(),
        Some(result::Result::RefDeprecated(name)) => vec![name],
        Some(result::Result::Ref(named)) => vec![named.id],
        Some(result::Result::RefsDeprecated(map)) => map.refs.into_values().collect(),
        Some(result::Result::Refs(map)) => map.refs.into_values().map(|named| named.id).collect(),
    };
    names.sort();
    names.dedup();
    if names.len() > 1 {
        return Err(SolveError::Unsupported("a result of several builds".to_owned()));
    }
    Ok(names.pop().unwrap_or_default())
}

fn capabilities(names: &[&str]) -> Vec<ApiCap> {
    names
        .iter()
        .map(|name| ApiCap {
            id: (*name).to_owned(),
            enabled: true,
            ..ApiCap::default()
        })
        .collect()
}

#[tonic::async_trait]
impl LlbBridge for GatewayService {
    type ExecProcessStream = Answers<ExecMessage>;

    async fn ping(&self, request: Request<PingRequest>) -> Result<Response<PongResponse>, Status> {
        self.job(&request).await?;
        Ok(Response::new(PongResponse {
            frontend_api_caps: capabilities(&GATEWAY),
            llb_caps: capabilities(&GRAPHS),
            workers: vec![worker()],
        }))
    }

    async fn solve(&self, request: Request<SolveRequest>) -> Result<Response<SolveResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let (in_result, as_message) = (request.allow_result_return, request.allow_result_array_ref);
        let (metadata, named) = match self.build(job, request).await? {
            Answer::Said(metadata) => (metadata, None),
            Answer::Built(name, _) if !in_result => {
                return Ok(Response::new(SolveResponse {
                    r#ref: name,
                    result: None,
                }));
            }
            Answer::Built(name, built) if as_message => {
                let def = Some(definitions::of(&built.images));
                (Metadata::new(), Some(result::Result::Ref(Ref { id: name, def })))
            }
            Answer::Built(name, _) => (Metadata::new(), Some(result::Result::RefDeprecated(name))),
        };
        Ok(Response::new(SolveResponse {
            r#ref: String::new(),
            result: Some(FrontendResult {
                metadata,
                attestations: HashMap::new(),
                result: named,
            }),
        }))
    }

    async fn r#return(&self, request: Request<ReturnRequest>) -> Result<Response<ReturnResponse>, Status> {
        let job = self.job(&request).await?;
        let request = request.into_inner();
        let returned = match request.error {
            Some(status) => Err(SolveError::Session(Box::new(Status::with_details(
                tonic::Code::from_i32(status.code),
                status.message.clone(),
                prost::Message::encode_to_vec(&status).into(),
            )))),
            None => name_of(request.result.unwrap_or_default()),
        };
        let returns = job.returns.lock().unwrap_or_else(PoisonError::into_inner).take();
        match returns {
            Some(returns) => {
                // A build that has ended meanwhile needs it no more.
                drop(returns.send(returned));
                Ok(Response::new(ReturnResponse {}))
            }
            None => Err(Status::failed_precondition("the frontend has returned already")),
        }
    }

    async fn evaluate(
        &self,
        request: Request<EvaluateRequest>,
    ) -> Result<Response<EvaluateResponse>, Status> {
        let job = self.job(&request).await?;
        let results = job.results.lock().unwrap_or_else(PoisonError::into_inner);
        // What has a name is built.
        if results.contains_key(&request.get_ref().r#ref) {
            return Ok(Response::new(EvaluateResponse {}));
        }
        Err(Status::not_found("there is no such result"))
    }

    async fn inputs(&self, request: Request<InputsRequest>) -> Result<Response<InputsResponse>, Status> {
        self.job(&request).await?;
        Ok(Response::new(InputsResponse::default()))
    }

    async fn warn(&self, _: Request<WarnRequest>) -> Result<Response<WarnResponse>, Status> {
        unimplemented("a frontend's warning")
    }

    async fn resolve_image_config(
        &self,
        _: Request<ResolveImageConfigRequest>,
    ) -> Result<Response<ResolveImageConfigResponse>, Status> {
        unimplemented("looking up an image for a frontend in the client")
    }

    async fn resolve_source_meta(
        &self,
        _: Request<ResolveSourceMetaRequest>,
    ) -> Result<Response<ResolveSourceMetaResponse>, Status> {
        unimplemented("looking up a source for a frontend in the client")
    }

    async fn read_file(&self, _: Request<ReadFileRequest>) -> Result<Response<ReadFileResponse>, Status> {
        unimplemented("reading a result's file")
    }

    async fn read_dir(&self, _: Request<ReadDirRequest>) -> Result<Response<ReadDirResponse>, Status> {
        unimplemented("listing a result's directory")
    }

    async fn stat_file(&self, _: Request<StatFileRequest>) -> Result<Response<StatFileResponse>, Status> {
        unimplemented("looking at a result's file")
    }

    async fn new_container(
        &self,
        _: Request<NewContainerRequest>,
    ) -> Result<Response<NewContainerResponse>, Status> {
        unimplemented("a container for a frontend in the client")
    }

    async fn release_container(
        &self,
        _: Request<ReleaseContainerRequest>,
    ) -> Result<Response<ReleaseContainerResponse>, Status> {
        unimplemented("a container for a frontend in the client")
    }

    async fn exec_process(
        &self,
        _: Request<Streaming<ExecMessage>>,
    ) -> Result<Response<Self::ExecProcessStream>, Status> {
        unimplemented("a process for a frontend in the client")
    }

    async fn read_file_container(
        &self,
        _: Request<ReadFileRequest>,
    ) -> Result<Response<ReadFileResponse>, Status> {
        unimplemented("reading a container's file")
    }

    async fn read_dir_container(
        &self,
        _: Request<ReadDirRequest>,
    ) -> Result<Response<ReadDirResponse>, Status> {
        unimplemented("listing a container's directory")
    }

    async fn stat_file_container(
        &self,
        _: Request<StatFileRequest>,
    ) -> Result<Response<StatFileResponse>, Status> {
        unimplemented("looking at a container's file")
    }
}
