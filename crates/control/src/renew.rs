//! Discovery over a reload: what the configuration says of it now, with what is known so far.

use std::sync::Arc;

use crate::discovery::source::Source;
use crate::hearing::Hearing;
use crate::reconcile::Discovery;
use crate::schedule::Schedule;
use crate::setup::Setup;
use crate::state_file::StateFile;

/// Discovery from now on.
pub(crate) struct Renewed {
    /// As it is configured now; `None`: there is none.
    pub(crate) discovery: Option<Discovery>,
    /// Whether the list comes from somewhere else, or fills something else.
    pub(crate) is_elsewhere: bool,
    /// What has changed, for the log.
    pub(crate) told: Vec<String>,
}

/// Takes over what another configuration says.
pub(crate) fn discovery(
    mut before: Option<Discovery>,
    setup: Setup,
    hearing: &Hearing,
    seed: u64,
) -> Renewed {
    let mut told = Vec::new();
    hearing.set_key(setup.key);
    let Some(setup) = setup.discovery else {
        if before.is_some() {
            told.push("Discovery: off from now on; the nodes that are there stay".to_owned());
        }
        return Renewed {
            is_elsewhere: before.is_some(),
            discovery: None,
            told,
        };
    };
    let heard = before.as_mut().map(|it| std::mem::take(&mut it.ear));
    let ear = hearing.ear(&setup, heard);
    let source = match (setup.client, before.as_ref().map(|it| &it.source)) {
        (Some(client), _) => Source::WsUpdates(client),
        (None, Some(Source::Registry { table, .. })) => Source::Registry {
            table: Arc::clone(table),
            rewrite: setup.rewrite,
        },
        (None, _) => {
            let line =
                "Discovery: the embedded registry opens at the next start; no list comes before";
            told.push(line.to_owned());
            return Renewed {
                is_elsewhere: false,
                discovery: before.map(|before| Discovery { ear, ..before }),
                told,
            };
        }
    };
    let backend = Arc::clone(&setup.intent.backend);
    let was = before
        .as_ref()
        .map(|it| (it.source.name(), &it.intent.backend));
    let is_elsewhere = was.as_ref() != Some(&(source.name(), &backend));
    if is_elsewhere {
        told.push(format!(
            "Discovery: {} fills backend {backend} from now on",
            source.name()
        ));
    }
    let is_at_hand = matches!(source, Source::Registry { .. });
    let fresh_schedule = || match Schedule::new(setup.interval, seed) {
        schedule if is_at_hand => schedule.at_hand(),
        schedule => schedule,
    };
    let path = setup.state_file.as_deref();
    let (schedule, state_file) = match before {
        Some(before) if !is_elsewhere => {
            let schedule = match before.schedule.interval() == setup.interval {
                true => before.schedule,
                false => fresh_schedule(),
            };
            let known = before.state_file.filter(|it| Some(it.path()) == path);
            (schedule, known)
        }
        _ => (fresh_schedule(), None),
    };
    let opened = || {
        let path = path?;
        match StateFile::open(path, &source.name(), &backend) {
            Ok(file) => Some(Arc::new(file)),
            Err(error) => {
                let shown = path.display();
                told.push(format!(
                    "State file: the folder of {shown} cannot be opened: {error}"
                ));
                None
            }
        }
    };
    let state_file = state_file.or_else(opened);
    Renewed {
        discovery: Some(Discovery {
            source,
            schedule,
            intent: setup.intent,
            nodes_max: setup.nodes_max,
            state_file,
            restored: crate::discovery::Fleet::default(),
            ear,
        }),
        is_elsewhere,
        told,
    }
}
