//! The commands: one file each, and the table that finds them.

mod attach;
mod bake;
mod boot;
mod build;
mod build_cache;
mod build_extras;
mod buildx;
mod commit;
mod completion;
mod context;
mod cp;
mod create;
mod df;
mod diff;
mod events;
mod exec;
mod export;
mod for_platform;
mod history;
mod image_tree;
mod images;
mod import;
mod info;
mod inspect;
mod key_agent;
mod kill;
mod load;
mod lock;
mod login;
mod logs;
mod manifest;
mod network;
mod pause;
mod port;
mod prune;
mod ps;
mod pull;
mod push;
mod referrers;
mod rename;
mod rm;
mod rmi;
mod run;
mod save;
mod search;
mod serve;
mod start;
mod stats;
mod stop;
mod tag;
mod top;
mod unpause;
mod update;
pub(crate) mod version;
mod volume;
mod volume_versions;
mod wait;

pub(crate) use context::NAME as CONTEXT;

use crate::dispatch::{Arity, Entry, Names, execute, flags};
use crate::failure::Failure;
use crate::front::Cli;
use crate::output;
use engine::EngineError;
use engine::containers::record::ContainerId;
use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

/// A group of commands: `container`, `image`, …
#[derive(Debug)]
pub(crate) struct Group {
    /// Its name.
    pub name: &'static str,
    /// What its commands are about.
    pub about: &'static str,
    /// Names in it that its help leaves out.
    pub hidden: &'static [&'static str],
}

/// The groups.
pub(crate) const GROUPS: &[Group] = &[
    Group {
        name: "builder",
        about: "Manage builds",
        hidden: &[],
    },
    Group {
        name: "buildx",
        about: "Build with Docker's newer names",
        hidden: &["b", "f", "install", "uninstall"],
    },
    Group {
        name: "completion",
        about: "Generate the autocompletion script for a shell",
        hidden: &[],
    },
    Group {
        name: "container",
        about: "Manage containers",
        hidden: &["list", "ps", "remove"],
    },
    Group {
        name: "context",
        about: "Show the one context there is: this program itself",
        hidden: &["list"],
    },
    Group {
        name: "image",
        about: "Manage images",
        hidden: &["list", "remove"],
    },
    Group {
        name: "lock",
        about: "Manage lock files of builds",
        hidden: &[],
    },
    Group {
        name: "manifest",
        about: "Manage image manifests and manifest lists",
        hidden: &[],
    },
    Group {
        name: "network",
        about: "Manage networks",
        hidden: &["list", "remove"],
    },
    Group {
        name: "system",
        about: "Manage the engine",
        hidden: &[],
    },
    Group {
        name: "volume",
        about: "Manage volumes",
        hidden: &["list", "remove"],
    },
];

/// What the overview names first.
pub(crate) const COMMON: &[&str] = &["run", "exec", "ps", "build", "pull", "images", "version", "info"];

/// Commands of Docker that we do not have yet, and what to do instead.
pub(crate) const ABSENT: &[(&str, &str)] = &[
    ("buildx dial-stdio", "there is no BuildKit daemon to talk to"),
    ("buildx history", "see 'history' and 'build --explain'"),
    ("buildx policy", ""),
    ("completion powershell", "there is bash, fish and zsh"),
    ("compose", "start the services one by one with 'run'"),
    ("system dial-stdio", ""),
    ("context create", "there is one context: this program itself"),
    ("context export", "there is one context: this program itself"),
    ("context import", "there is one context: this program itself"),
    ("context rm", "there is one context: this program itself"),
    ("context update", "there is one context: this program itself"),
    (
        "volume update",
        "it changes cluster volumes of a swarm; a volume's labels and options are those of its making",
    ),
];

/// What stands in for swarm mode.
const NO_SWARM: &str =
    "run containers on this host with 'run', or hand the image to Kubernetes, which has services";

/// Groups of Docker that this engine does without on purpose: why, and what to do instead.
pub(crate) const ABSENT_GROUPS: &[(&str, &str, &str)] = &[
    (
        "checkpoint",
        "a process cannot be frozen to disk and thawed here",
        "'pause' and 'unpause' keep it in memory, 'commit' keeps its files",
    ),
    (
        "config",
        "there is no swarm mode",
        "mount the file: 'run -v FILE:/path:ro'",
    ),
    ("node", "there is no swarm mode", NO_SWARM),
    (
        "plugin",
        "there are no engine plugins",
        "volumes are directories and mounts: mount what a plugin would, and bind it with -v",
    ),
    (
        "scout",
        "it is a service of Docker's",
        "'save' the image and give it to a scanner",
    ),
    (
        "secret",
        "there is no swarm mode",
        "mount the file: 'run -v FILE:/run/secrets/NAME:ro'; for builds there is 'build --secret'",
    ),
    ("service", "there is no swarm mode", NO_SWARM),
    ("stack", "there is no swarm mode", NO_SWARM),
    ("swarm", "there is no swarm mode", NO_SWARM),
    (
        "trust",
        "its Notary servers are being shut down",
        "name images by digest: NAME@sha256:…",
    ),
];

macro_rules! entry {
    ($verb:ty, $name:literal, [$($alias:literal),*], $usage:literal, $about:literal, $arity:expr, $names:ident $(, $ends:ident)?) => {
        Entry {
            name: $name,
            aliases: &[$($alias),*],
            usage: $usage,
            about: $about,
            arity: $arity,
            ends_flags: entry!(@ends $($ends)?),
            names: Names::$names,
            flags: flags::<$verb>,
            run: execute::<$verb>,
        }
    };
    (@ends) => { false };
    (@ends ends_flags) => { true };
}

use Arity::{AtLeast, AtMost, Between, Exactly};

/// All commands.
#[rustfmt::skip]
pub(crate) const COMMANDS: &[Entry] = &[
    entry!(attach::Attach, "container attach", ["attach"], "[OPTIONS] CONTAINER",
        "Attach local standard input, output, and error streams to a running container", Exactly(1), Running),
    entry!(commit::Commit, "container commit", ["commit"], "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
        "Create a new image from a container's changes", Between(1, 2), Containers),
    entry!(cp::Cp, "container cp", ["cp"], "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n[OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
        "Copy files/folders between a container and the local filesystem", Exactly(2), Files),
    entry!(create::Create, "container create", ["create"], "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create a new container", AtLeast(1), Images, ends_flags),
    entry!(diff::Diff, "container diff", ["diff"], "CONTAINER",
        "Inspect changes to files or directories on a container's filesystem", Exactly(1), Containers),
    entry!(exec::Exec, "container exec", ["exec"], "[OPTIONS] CONTAINER COMMAND [ARG...]",
        "Execute a command in a running container", AtLeast(2), Running, ends_flags),
    entry!(export::Export, "container export", ["export"], "[OPTIONS] CONTAINER",
        "Export a container's filesystem as a tar archive", Exactly(1), Containers),
    entry!(inspect::InspectContainers, "container inspect", [], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Display detailed information on one or more containers", AtLeast(1), Containers),
    entry!(kill::Kill, "container kill", ["kill"], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Kill one or more running containers", AtLeast(1), Running),
    entry!(logs::Logs, "container logs", ["logs"], "[OPTIONS] CONTAINER",
        "Fetch the logs of a container", Exactly(1), Containers),
    entry!(ps::Ps, "container ls", ["container list", "container ps", "ps"], "[OPTIONS]",
        "List containers", Exactly(0), Nothing),
    entry!(pause::Pause, "container pause", ["pause"], "CONTAINER [CONTAINER...]",
        "Pause all processes within one or more containers", AtLeast(1), Running),
    entry!(port::Port, "container port", ["port"], "CONTAINER [PRIVATE_PORT[/PROTO]]",
        "List port mappings or a specific mapping for the container", Between(1, 2), Running),
    entry!(prune::PruneContainers, "container prune", [], "[OPTIONS]",
        "Remove all stopped containers", Exactly(0), Nothing),
    entry!(rename::Rename, "container rename", ["rename"], "CONTAINER NEW_NAME",
        "Rename a container", Exactly(2), Containers),
    entry!(stop::Restart, "container restart", ["restart"], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Restart one or more containers", AtLeast(1), Containers),
    entry!(rm::Rm, "container rm", ["container remove", "rm"], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Remove one or more containers", AtLeast(1), Containers),
    entry!(run::Run, "container run", ["run"], "[OPTIONS] IMAGE [COMMAND] [ARG...]",
        "Create and run a new container from an image", AtLeast(1), Images, ends_flags),
    entry!(start::Start, "container start", ["start"], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Start one or more stopped containers", AtLeast(1), Stopped),
    entry!(stats::Stats, "container stats", ["stats"], "[OPTIONS] [CONTAINER...]",
        "Display a live stream of container(s) resource usage statistics", AtLeast(0), Running),
    entry!(stop::Stop, "container stop", ["stop"], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Stop one or more running containers", AtLeast(1), Running),
    entry!(top::Top, "container top", ["top"], "CONTAINER [ps OPTIONS]",
        "Display the running processes of a container", AtLeast(1), Running, ends_flags),
    entry!(unpause::Unpause, "container unpause", ["unpause"], "CONTAINER [CONTAINER...]",
        "Unpause all processes within one or more containers", AtLeast(1), Running),
    entry!(update::Update, "container update", ["update"], "[OPTIONS] CONTAINER [CONTAINER...]",
        "Update configuration of one or more containers", AtLeast(1), Containers),
    entry!(wait::Wait, "container wait", ["wait"], "CONTAINER [CONTAINER...]",
        "Block until one or more containers stop, then print their exit codes", AtLeast(1), Containers),

    entry!(build::BuildCommand, "image build", ["build", "builder build", "buildx build", "buildx b"], "[OPTIONS] PATH | URL | -",
        "Build an image from a Dockerfile", Exactly(1), Files),
    entry!(history::History, "image history", ["history"], "[OPTIONS] IMAGE",
        "Show the history of an image", Exactly(1), Images),
    entry!(import::Import, "image import", ["import"], "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
        "Import the contents from a tarball to create a filesystem image", Between(1, 2), Files),
    entry!(inspect::InspectImages, "image inspect", [], "[OPTIONS] IMAGE [IMAGE...]",
        "Display detailed information on one or more images", AtLeast(1), Images),
    entry!(load::Load, "image load", ["load"], "[OPTIONS]",
        "Load an image from a tar archive or STDIN", Exactly(0), Nothing),
    entry!(images::ListImages, "image ls", ["image list", "images"], "[OPTIONS] [REPOSITORY[:TAG]]",
        "List images", AtMost(1), Images),
    entry!(prune::PruneImages, "image prune", [], "[OPTIONS]", "Remove unused images", Exactly(0), Nothing),
    entry!(pull::Pull, "image pull", ["pull"], "[OPTIONS] NAME[:TAG|@DIGEST]",
        "Download an image from a registry", Exactly(1), Images),
    entry!(push::Push, "image push", ["push"], "[OPTIONS] NAME[:TAG] [NAME[:TAG]...]",
        "Upload an image to a registry", AtLeast(1), Images),
    entry!(referrers::Referrers, "image referrers", [], "[OPTIONS] NAME[:TAG|@DIGEST]",
        "List what refers to an image at its registry: signatures, attestations", Exactly(1), Images),
    entry!(rmi::Rmi, "image rm", ["image remove", "rmi"], "[OPTIONS] IMAGE [IMAGE...]",
        "Remove one or more images", AtLeast(1), Images),
    entry!(save::Save, "image save", ["save"], "[OPTIONS] IMAGE [IMAGE...]",
        "Save one or more images to a tar archive (streamed to STDOUT by default)", AtLeast(1), Images),
    entry!(tag::Tag, "image tag", ["tag"], "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE", Exactly(2), Images),

    entry!(volume_versions::Clone, "volume clone", [], "[OPTIONS] VOLUME[:TAG] NEW_VOLUME",
        "Make a volume with what another one, or a version of one, holds", Exactly(2), Volumes),
    entry!(volume::Create, "volume create", [], "[OPTIONS] [VOLUME]", "Create a volume", AtMost(1), Nothing),
    entry!(volume_versions::Diff, "volume diff", [], "[OPTIONS] VOLUME [TAG [TAG]]",
        "Show what has changed since a version, by default the last, or between two", Between(1, 3), Volumes),
    entry!(volume_versions::Export, "volume export", [], "[OPTIONS] VOLUME[:TAG]",
        "Export a volume, or a version of it, as a tar archive", Exactly(1), Volumes),
    entry!(volume_versions::Forget, "volume forget", [], "VOLUME TAG [TAG...]",
        "Remove one or more versions of a volume", AtLeast(2), Volumes),
    entry!(volume_versions::Import, "volume import", [], "VOLUME file|-",
        "Make a volume of a tar archive", Exactly(2), Nothing),
    entry!(inspect::InspectVolumes, "volume inspect", [], "[OPTIONS] VOLUME [VOLUME...]",
        "Display detailed information on one or more volumes", AtLeast(1), Volumes),
    entry!(volume::List, "volume ls", ["volume list"], "[OPTIONS]", "List volumes", Exactly(0), Nothing),
    entry!(prune::PruneVolumes, "volume prune", [], "[OPTIONS]", "Remove unused local volumes", Exactly(0), Nothing),
    entry!(volume_versions::Restore, "volume restore", [], "[OPTIONS] VOLUME TAG",
        "Make a volume again what one of its versions holds", Exactly(2), Volumes),
    entry!(volume::Remove, "volume rm", ["volume remove"], "[OPTIONS] VOLUME [VOLUME...]",
        "Remove one or more volumes", AtLeast(1), Volumes),
    entry!(volume_versions::Snapshot, "volume snapshot", [], "[OPTIONS] VOLUME [TAG]",
        "Keep what a volume holds now as a version of it", Between(1, 2), Volumes),
    entry!(volume_versions::Versions, "volume versions", [], "[OPTIONS] [VOLUME]",
        "List the versions of a volume, or of all", AtMost(1), Volumes),

    entry!(network::Connect, "network connect", [], "[OPTIONS] NETWORK CONTAINER",
        "Connect a container to a network", Exactly(2), Networks),
    entry!(network::Create, "network create", [], "[OPTIONS] NETWORK", "Create a network", Exactly(1), Nothing),
    entry!(network::Disconnect, "network disconnect", [], "[OPTIONS] NETWORK CONTAINER",
        "Disconnect a container from a network", Exactly(2), Networks),
    entry!(inspect::InspectNetworks, "network inspect", [], "[OPTIONS] NETWORK [NETWORK...]",
        "Display detailed information on one or more networks", AtLeast(1), Networks),
    entry!(prune::PruneNetworks, "network prune", [], "[OPTIONS]", "Remove all unused networks", Exactly(0), Nothing),
    entry!(network::List, "network ls", ["network list"], "[OPTIONS]", "List networks", Exactly(0), Nothing),
    entry!(network::Remove, "network rm", ["network remove"], "NETWORK [NETWORK...]",
        "Remove one or more networks", AtLeast(1), Networks),

    entry!(lock::Update, "lock update", [], "[OPTIONS] PATH",
        "Write down which images a Dockerfile's names mean now", Exactly(1), Files),
    entry!(bake::Bake, "buildx bake", ["bake", "buildx f"], "[OPTIONS] [TARGET...]", "Build from a file", AtLeast(0), Nothing),
    entry!(build_cache::BuilderCache, "builder cache", [], "ls\nexport ID FILE|-\nimport ID FILE|-",
        "List, export and import cache mounts", AtLeast(1), Files),
    entry!(buildx::DiskUsage, "builder du", ["buildx du"], "[OPTIONS]", "Disk usage of the build cache", Exactly(0), Nothing),
    entry!(prune::PruneBuilder, "builder prune", ["buildx prune"], "[OPTIONS]", "Remove build cache", Exactly(0), Nothing),
    entry!(buildx::Create, "buildx create", [], "[OPTIONS] [CONTEXT|ENDPOINT]", "Name the one builder there is", AtMost(1), Nothing),
    entry!(buildx::Inspect, "buildx inspect", [], "[NAME]", "Inspect the builder", AtMost(1), Nothing),
    entry!(buildx::List, "buildx ls", [], "", "List builders", Exactly(0), Nothing),
    entry!(buildx::Remove, "buildx rm", [], "[OPTIONS] [NAME] [NAME...]", "Forget a name of the builder", AtLeast(0), Nothing),
    entry!(buildx::Stop, "buildx stop", [], "[NAME]", "Do nothing: the builder runs only while it builds", AtMost(1), Nothing),
    entry!(buildx::Use, "buildx use", [], "[OPTIONS] NAME", "Choose the one builder there is", Exactly(1), Nothing),
    entry!(manifest::ImageTools, "buildx imagetools", [], "[OPTIONS] inspect NAME\n[OPTIONS] create -t NAME SOURCE [SOURCE...]",
        "Work on images in registries", AtLeast(1), Nothing),
    entry!(manifest::Annotate, "manifest annotate", [], "[OPTIONS] MANIFEST_LIST MANIFEST",
        "Add additional information to a local image manifest", Exactly(2), Nothing),
    entry!(manifest::Create, "manifest create", [], "[OPTIONS] MANIFEST_LIST MANIFEST [MANIFEST...]",
        "Create a local manifest list for annotating and pushing to a registry", AtLeast(2), Nothing),
    entry!(manifest::Inspect, "manifest inspect", [], "[OPTIONS] [MANIFEST_LIST] MANIFEST",
        "Display an image manifest, or manifest list", Between(1, 2), Nothing),
    entry!(manifest::Push, "manifest push", [], "[OPTIONS] MANIFEST_LIST",
        "Push a manifest list to a repository", Exactly(1), Nothing),
    entry!(manifest::Remove, "manifest rm", [], "MANIFEST_LIST [MANIFEST_LIST...]",
        "Delete one or more manifest lists from local storage", AtLeast(1), Nothing),
    entry!(version::BuildxVersion, "buildx version", [], "", "Show version information", Exactly(0), Nothing),
    entry!(context::Inspect, "context inspect", [], "[OPTIONS] [CONTEXT] [CONTEXT...]",
        "Display detailed information on the context", AtLeast(0), Contexts),
    entry!(context::List, "context ls", ["context list"], "[OPTIONS]", "List contexts", Exactly(0), Nothing),
    entry!(context::Show, "context show", [], "", "Print the name of the current context", Exactly(0), Nothing),
    entry!(context::Use, "context use", [], "CONTEXT", "Set the current docker context", Exactly(1), Contexts),
    entry!(df::DiskUsage, "system df", [], "[OPTIONS]", "Show disk usage", Exactly(0), Nothing),
    entry!(events::Events, "system events", ["events"], "[OPTIONS]", "Get real time events from the server", Exactly(0), Nothing),
    entry!(login::Login, "login", [], "[OPTIONS] [SERVER]", "Authenticate to a registry", AtMost(1), Nothing),
    entry!(login::Logout, "logout", [], "[SERVER]", "Log out from a registry", AtMost(1), Nothing),
    entry!(info::Info, "system info", ["info"], "[OPTIONS]", "Display system-wide information", Exactly(0), Nothing),
    entry!(boot::Install, "system install", [], "[OPTIONS]",
        "Write a systemd unit that starts containers with a restart policy at boot", Exactly(0), Nothing),
    entry!(boot::StartAll, "system start-all", [], "",
        "Start every container that its restart policy wants to run after a reboot", Exactly(0), Nothing),
    entry!(boot::StopAll, "system stop-all", [], "",
        "Stop every running container so that start-all starts it again", Exactly(0), Nothing),
    entry!(prune::PruneSystem, "system prune", [], "[OPTIONS]", "Remove unused data", Exactly(0), Nothing),
    entry!(inspect::Inspect, "inspect", [], "[OPTIONS] NAME|ID [NAME|ID...]",
        "Return low-level information on containers, images, volumes and networks", AtLeast(1), Objects),
    entry!(serve::Serve, "serve", [], "[OPTIONS]",
        "Serve Docker's Engine API on a socket, for Docker's clients", Exactly(0), Nothing),
    entry!(search::Search, "search", [], "[OPTIONS] TERM", "Search Docker Hub for images", Exactly(1), Nothing),
    entry!(version::Version, "version", [], "[OPTIONS]", "Show the version information", Exactly(0), Nothing),
    entry!(completion::Bash, "completion bash", [], "", "Generate the autocompletion script for bash", Exactly(0), Nothing),
    entry!(completion::Fish, "completion fish", [], "", "Generate the autocompletion script for fish", Exactly(0), Nothing),
    entry!(completion::Zsh, "completion zsh", [], "", "Generate the autocompletion script for zsh", Exactly(0), Nothing),
];

/// Does something to each of several things and goes on after a failure; the exit code tells of it.
fn each(cli: &Cli, names: &[String], mut act: impl FnMut(&str) -> Result<(), Failure>) -> ExitCode {
    let mut worst = 0;
    for name in names {
        if let Err(failure) = act(name) {
            output::failure(&cli.program, &failure);
            worst = failure.code.max(worst);
        }
    }
    ExitCode::from(worst)
}

/// How many containers are stopped or removed at the same time: most of it is waiting for the kernel.
const AT_ONCE: usize = 16;

/// Does something to each of several things, several at once, and has `tell` tell of each in the order of the names.
fn each_at_once<T: Send>(
    cli: &Cli,
    names: &[String],
    act: impl Fn(&str) -> Result<T, EngineError> + Sync,
    mut tell: impl FnMut(&str, Result<T, EngineError>) -> Result<(), Failure>,
) -> ExitCode {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..names.len().min(AT_ONCE) {
            let (act, next, sender) = (&act, &next, sender.clone());
            scope.spawn(move || {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(name) = names.get(place) else { break };
                    // The receiver lives as long as the scope.
                    sender.send((place, act(name))).unwrap_or_default();
                }
            });
        }
        drop(sender);
        let mut results: BTreeMap<usize, Result<T, EngineError>> = BTreeMap::new();
        let mut told = 0;
        each(cli, names, |name| {
            let result = loop {
                if let Some(result) = results.remove(&told) {
                    break result;
                }
                match receiver.recv() {
                    Ok((place, result)) => results.insert(place, result),
                    Err(mpsc::RecvError) => return Err(Failure::new(format!("nothing was done to {name}"))),
                };
            };
            told += 1;
            tell(name, result)
        })
    })
}

/// Does something to each of several containers and prints the name of each where it worked, as the user wrote it.
fn each_container(
    cli: &Cli,
    names: &[String],
    act: impl Fn(&ContainerId) -> Result<(), EngineError>,
) -> Result<ExitCode, Failure> {
    let containers = cli.engine()?.containers();
    Ok(each(cli, names, |name| {
        act(&containers.find(name)?)?;
        output::line(name)
    }))
}

/// The same, to several at once.
fn each_container_at_once(
    cli: &Cli,
    names: &[String],
    act: impl Fn(&ContainerId) -> Result<(), EngineError> + Sync,
) -> Result<ExitCode, Failure> {
    let containers = cli.engine()?.containers();
    let act = |name: &str| act(&containers.find(name)?);
    Ok(each_at_once(cli, names, act, |name, done| {
        done?;
        output::line(name)
    }))
}

/// Makes an exit code of a process's.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}
