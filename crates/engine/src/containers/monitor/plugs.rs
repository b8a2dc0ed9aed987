//! A container's places on its networks: taken when its process is made, changed while it runs, given up at its end.

use super::cable::Cable;
use super::container::{Life, NetworkPlan, chain};
use super::names::Names;
use crate::containers::running;
use crate::networks::connect::Connections;
use crate::networks::names::{self, NamesPlan};
use network::{Bridge, Endpoint, FirewallWatch, NetworkError, Segment};
use runtime::{StartError, StartFailure};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};
use sys::failpoint;

/// Who reloads a firewall takes rules away and writes others in several steps.
const SETTLED: Duration = Duration::from_millis(100);

type Place = (Segment, Endpoint);

impl Life {
    /// Gives a new namespace its places, and a name server if it is to have one. What is made is taken away by
    /// [`Life::take_network_away`] if this fails.
    pub(super) fn plug(&mut self, namespace: BorrowedFd<'_>) -> Result<(), StartError> {
        match &self.plan.network {
            NetworkPlan::Own(places) if places.is_empty() => network::raise_loopback(namespace),
            NetworkPlan::Own(places) => places
                .iter()
                .try_for_each(|(segment, endpoint)| segment.attach(namespace, endpoint)),
            NetworkPlan::Shared => Ok(()),
        }
        .map_err(|error| setup(&error))?;
        if let Some(plan) = self.plan.names.clone() {
            self.names = Some(Names::open(namespace, plan).map_err(|error| setup(&error))?);
            failpoint::reach("monitor.names")?;
            self.be_found()?;
        }
        Ok(())
    }

    /// Makes the container's names known.
    fn be_found(&self) -> Result<(), StartError> {
        for network in self.plan.names.iter().flat_map(|plan| &plan.networks) {
            names::enter(&self.locations, &network.id, &self.plan.id, &network.entry)
                .map_err(|error| setup(&error))?;
            failpoint::reach("monitor.entered")?;
        }
        Ok(())
    }

    /// Nobody is to find it any more.
    fn be_gone(&mut self) {
        // It keeps the namespace, and with it the links, from going.
        self.names = None;
        for network in self.plan.names.iter().flat_map(|plan| &plan.networks) {
            names::leave(&self.locations, &network.id, &self.plan.id);
        }
    }

    /// Takes ports and the host's end of the cable away. What stays has the container's name on it and is swept.
    pub(super) fn take_network_away(&mut self) {
        self.be_gone();
        if let NetworkPlan::Own(places) = &self.plan.network {
            for (segment, endpoint) in places {
                segment.detach(endpoint).unwrap_or_default();
            }
        }
    }

    /// Likewise, but the cable in a thread of its own: the kernel lets its caller go only when no processor can still
    /// be looking at the link, which is milliseconds after nobody can find it any more.
    pub(super) fn unplug(&mut self) -> Cable {
        self.be_gone();
        let NetworkPlan::Own(places) = &self.plan.network else {
            return Cable::default();
        };
        for (segment, endpoint) in places {
            segment.unpublish(&endpoint.published()).unwrap_or_default();
        }
        let cables: Vec<(Bridge, String)> = places
            .iter()
            .filter_map(|(segment, endpoint)| Some((segment.bridge()?.clone(), endpoint.host_link.clone())))
            .collect();
        let host_links: Vec<String> = cables.iter().map(|(_, host_link)| host_link.clone()).collect();
        if cables.is_empty() {
            return Cable::default();
        }
        let removal = std::thread::Builder::new().spawn(move || {
            for (bridge, host_link) in cables {
                bridge.remove_link(&host_link).unwrap_or_default();
            }
        });
        match removal {
            Ok(thread) => Cable {
                removal: Some((thread, host_links)),
            },
            Err(_no_thread) => {
                self.take_network_away();
                Cable::default()
            }
        }
    }

    /// Begins to listen whether somebody takes the host's firewall rules away. Without that, the next command puts ours
    /// back.
    pub(super) fn watch_rules(&mut self) {
        if let NetworkPlan::Own(places) = &self.plan.network
            && places.iter().any(|(segment, _)| segment.bridge().is_some())
        {
            self.rules = FirewallWatch::open().ok();
            // What was taken away before we listened is put back now.
            self.rules_due = Some(Instant::now());
        }
    }

    /// Notes that rules were taken away, if so.
    pub(super) fn hear_of_rules(&mut self) {
        let changed = self.rules.as_mut().is_some_and(FirewallWatch::changed);
        if changed && self.rules_due.is_none() {
            self.rules_due = Some(Instant::now() + SETTLED);
        }
    }

    /// Puts this container's part of the firewall back, when whoever has emptied it is likely to be done.
    pub(super) fn restore_rules(&mut self) {
        if self.rules_due.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.rules_due = None;
        if let NetworkPlan::Own(places) = &self.plan.network {
            for (segment, endpoint) in places {
                // What cannot be put back now is put back by the next command that needs it.
                segment
                    .ensure()
                    .and_then(|_ensured| segment.publish(endpoint))
                    .unwrap_or_default();
            }
        }
        // What we have done ourselves is no news.
        self.hear_of_rules();
        self.rules_due = None;
        sys::memory::release();
    }

    /// Comes up to what a command has written: the networks that the container is on from now on. If that cannot be,
    /// all is as before. Without a process there is nothing to be done but to know it.
    pub(super) fn rejoin(&mut self, pid: Option<i32>) -> Result<(), StartError> {
        let path = self.locations.run_directory(&self.plan.id).join("networks");
        let Some(Connections { places, names: plan }) = running::document(&path) else {
            return Ok(());
        };
        let NetworkPlan::Own(former) = &self.plan.network else {
            return Ok(());
        };
        // A process that has just ended has no namespaces any more.
        let namespace = pid.and_then(|pid| File::open(format!("/proc/{pid}/ns/net")).ok());
        let Some(namespace) = namespace else {
            self.plan.network = NetworkPlan::Own(places);
            self.plan.names = plan;
            return Ok(());
        };
        let former = former.clone();
        let namespace = namespace.as_fd();
        let mut added = Vec::new();
        let result = add(namespace, &former, &places, &mut added)
            .map_err(|error| setup(&error))
            .and_then(|()| self.renew_names(namespace, plan));
        if let Err(error) = result {
            for (segment, endpoint) in &added {
                take_off(namespace, segment, endpoint);
            }
            // Where packets for elsewhere went, they go again; why it failed is what counts.
            lead_out(namespace, &former).unwrap_or_default();
            return Err(error);
        }
        failpoint::pass("rejoin.added");
        for (segment, endpoint) in former.iter().filter(|place| kept(place, &places).is_none()) {
            take_off(namespace, segment, endpoint);
        }
        let mut result = Ok(());
        for (segment, endpoint) in &former {
            let Some((_, now)) = kept(&(segment.clone(), endpoint.clone()), &places) else {
                continue;
            };
            if now.ports != endpoint.ports {
                // First they lead where they shall; what leads elsewhere by then is not touched.
                let published = segment.publish(now).map_err(|error| setup(&error));
                result = result.and(published);
                if now.ports.is_empty() {
                    segment.unpublish(&endpoint.published()).unwrap_or_default();
                }
            }
        }
        let led = lead_out(namespace, &places).map_err(|error| setup(&error));
        self.plan.network = NetworkPlan::Own(places);
        if self.rules.is_none() {
            self.watch_rules();
        }
        failpoint::pass("rejoin.done");
        result.and(led)
    }

    /// Has the name server answer for other networks, and the container found on them.
    fn renew_names(&mut self, namespace: BorrowedFd<'_>, plan: Option<NamesPlan>) -> Result<(), StartError> {
        let Some(plan) = plan else { return Ok(()) };
        match &mut self.names {
            Some(names) => names.change(plan.clone()),
            None => self.names = Some(Names::open(namespace, plan.clone()).map_err(|error| setup(&error))?),
        }
        let former = self.plan.names.replace(plan);
        let entered = self.be_found();
        let now = self.plan.names.iter().flat_map(|plan| &plan.networks);
        let (mut gone, mut left) = (former.clone().unwrap_or_default().networks, Vec::new());
        left.extend(now.map(|network| network.id.clone()));
        gone.retain(|network| !left.contains(&network.id));
        if entered.is_err() {
            let new = left.into_iter().filter(|id| {
                !former
                    .iter()
                    .flat_map(|plan| &plan.networks)
                    .any(|there| there.id == *id)
            });
            for id in new {
                names::leave(&self.locations, &id, &self.plan.id);
            }
            if let (Some(names), Some(former)) = (&mut self.names, &former) {
                names.change(former.clone());
            }
            self.plan.names = former;
            return entered;
        }
        for network in gone {
            names::leave(&self.locations, &network.id, &self.plan.id);
        }
        Ok(())
    }
}

fn setup(error: &dyn std::error::Error) -> StartError {
    StartError {
        failure: StartFailure::Setup,
        message: chain(error),
    }
}

/// Returns what has become of a place: a link is the same if it is called the same on both sides and has its address.
fn kept<'p>((_, endpoint): &Place, places: &'p [Place]) -> Option<&'p Place> {
    places.iter().find(|(_, there)| {
        there.host_link == endpoint.host_link
            && there.link == endpoint.link
            && there.address == endpoint.address
    })
}

/// Attaches what is new, and says how far it has come.
fn add(
    namespace: BorrowedFd<'_>,
    former: &[Place],
    places: &[Place],
    added: &mut Vec<Place>,
) -> Result<(), NetworkError> {
    for place in places.iter().filter(|place| kept(place, former).is_none()) {
        place.0.attach(namespace, &place.1)?;
        added.push(place.clone());
    }
    Ok(())
}

/// Takes a link out of a namespace that lives on. What cannot be taken out goes with the namespace.
fn take_off(namespace: BorrowedFd<'_>, segment: &Segment, endpoint: &Endpoint) {
    segment.detach_from(namespace, endpoint).unwrap_or_default();
}

/// Sends what is for elsewhere out by the place that is the way out.
fn lead_out(namespace: BorrowedFd<'_>, places: &[Place]) -> Result<(), NetworkError> {
    let way_out = places.iter().find(|(_, endpoint)| endpoint.default_route);
    let route = way_out.and_then(|(segment, endpoint)| Some((endpoint.link.as_str(), segment.way_out()?)));
    let route6 = way_out.and_then(|(segment, endpoint)| Some((endpoint.link.as_str(), segment.way_out6()?)));
    network::set_default_route(namespace, route)?;
    network::set_default_route6(namespace, route6)
}
