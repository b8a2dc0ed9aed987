//! `GET /containers/{id}/stats`: what a container uses, once or every second.

use super::open;
use crate::server::reply::Head;
use crate::server::{Exchange, Failure, OpenEngine, Outlet, Reply};
use crate::wire::ContainerStats;
use engine::Kind;
use engine::containers::record::ContainerId;
use engine::containers::stats::{Sample, Statistics};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::Write;
use std::time::{Duration, Instant};

/// Between two samples. The host's time is counted in hundredths of a second: less would say little.
const INTERVAL: Duration = Duration::from_secs(1);

type Taken = (Sample, Statistics);

pub(super) fn stats(exchange: &mut Exchange) -> Result<Reply, Failure> {
    let streams = exchange.query().flag_or("stream", true);
    let one_shot = exchange.query().flag("one-shot");
    if streams && one_shot {
        return Err(Failure::bad_request("cannot have stream=true and one-shot=true"));
    }
    let (engine, id) = open(exchange)?;
    if streams {
        let write = move |outlet: &mut Outlet| stream(&engine, &id, outlet);
        return Ok(Reply::Stream(Head::ok("application/json"), Box::new(write)));
    }
    let containers = engine.containers();
    let first = containers.statistics(&id)?;
    // One that does not run has nothing to wait for.
    if one_shot || first.0.started == 0 {
        return Reply::json(&ContainerStats::new(&id, &first, None));
    }
    std::thread::sleep(INTERVAL);
    let second = containers.statistics(&id)?;
    Reply::json(&ContainerStats::new(&id, &second, Some(&first)))
}

fn stream(engine: &OpenEngine, id: &ContainerId, outlet: &mut Outlet) -> Result<(), Failure> {
    let containers = engine.containers();
    let mut last: Option<Taken> = None;
    loop {
        let taken = match containers.statistics(id) {
            Ok(taken) => taken,
            // It was removed: what there was to say has been said.
            Err(error) if error.kind() == Kind::NotFound && last.is_some() => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let comparable = last.as_ref().filter(|(last, _)| last.started == taken.0.started);
        let stats = ContainerStats::new(id, &taken, comparable);
        let mut text = serde_json::to_vec(&stats).map_err(|error| Failure::internal(error.to_string()))?;
        text.push(b'\n');
        if outlet.write_all(&text).is_err() || !pause(outlet)? {
            return Ok(());
        }
        last = Some(taken);
    }
}

/// Waits for the next sample; `false` if the client has gone meanwhile.
fn pause(outlet: &Outlet) -> Result<bool, Failure> {
    let deadline = Instant::now() + INTERVAL;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).unwrap_or_default();
        let descriptor = outlet.descriptor();
        let mut descriptors = [PollFd::from_borrowed_fd(descriptor, PollFlags::empty())];
        match poll(&mut descriptors, Some(&timeout)) {
            Ok(0) => return Ok(true),
            Ok(_) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(std::io::Error::from(errno).into()),
        }
    }
}
