//! Each value and where it came from, for `check --show-origin` and `config show`.

use std::path::Path;

use super::Config;
use super::build::beside_file;
use super::file::{FileSettings, Item};
use super::layers::{Given, Layers, Level};
use super::place::Place;
use crate::settings::{Id, Kind, SETTINGS, Setting};

/// One value in effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The setting, as the file calls it.
    pub key: String,
    /// The value, as people write it.
    pub value: String,
    /// Where it was written.
    pub place: Place,
}

/// One setting of a plain table in effect, as the file would say it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Effective {
    /// Which one.
    pub id: Id,
    /// Its values, one at most unless it is a list; paths as they are found from anywhere.
    pub texts: Vec<String>,
    /// Where they were written.
    pub place: Place,
}

/// What is said about each setting of a plain table, if anything is.
pub(crate) fn effective(layers: &Layers) -> Vec<Effective> {
    let plain = SETTINGS
        .iter()
        .filter(|setting| setting.key.is_some_and(|key| !key.repeated));
    let of_setting = |setting: &Setting| {
        let (_, place) = layers.strongest(setting.id)?;
        let texts = layers.texts(setting.id).iter();
        Some(Effective {
            id: setting.id,
            texts: texts
                .map(|given| found_from_anywhere(setting, given))
                .collect(),
            place: place.clone(),
        })
    };
    plain.filter_map(of_setting).collect()
}

/// Words that stand where a path may stand are left alone.
fn found_from_anywhere(setting: &Setting, given: &Given) -> String {
    let is_word = ["off", "stderr"].contains(&given.text.as_str());
    if setting.kind == Kind::Path && !is_word {
        let path = beside_file(Path::new(&given.text), &given.place);
        path.to_string_lossy().into_owned()
    } else {
        given.text.clone()
    }
}

/// All values in effect, in the order of the table.
pub(crate) fn of(config: &Config, layers: &Layers, file: &FileSettings) -> Vec<Origin> {
    let mut origins = Vec::new();
    for setting in SETTINGS {
        if setting.id == Id::Upstream {
            origins.extend(upstreams(config, layers, file));
        } else if setting.id == Id::Route {
            origins.extend(routes(config, layers, file));
        } else if setting.id == Id::Bootstrap {
            origins.extend(bootstrap(config, layers));
        } else if setting.key.is_none_or(|key| !key.repeated) {
            origins.push(plain(setting, layers));
        }
    }
    for entry in &file.locals {
        let value = entry
            .label
            .trim_start_matches("[[local]]")
            .trim()
            .to_owned();
        origins.push(Origin {
            key: "local".into(),
            value,
            place: entry.place.clone(),
        });
    }
    origins
}

fn plain(setting: &Setting, layers: &Layers) -> Origin {
    let texts: Vec<_> = layers
        .texts(setting.id)
        .iter()
        .map(|given| given.text.as_str())
        .collect();
    let overruled = setting.id == Id::ListenTls
        && layers
            .strongest(Id::Listen)
            .is_some_and(|(level, _)| level > Level::File);
    let (value, place) = match layers.strongest(setting.id) {
        _ if overruled => ("see listen.dns".into(), Place::Default),
        Some((_, place)) if setting.kind == Kind::Switch => ("yes".into(), place.clone()),
        Some((_, place)) => (texts.join(", "), place.clone()),
        None => (setting.default_text(), Place::Default),
    };
    Origin {
        key: setting.title(),
        value,
        place,
    }
}

fn upstreams(config: &Config, layers: &Layers, file: &FileSettings) -> Vec<Origin> {
    let listed = Listed::of(Id::Upstream, layers, file.upstreams.as_ref());
    let origin = |(index, upstream): (usize, &super::UpstreamSettings)| Origin {
        key: format!("upstream \"{}\"", upstream.name),
        value: upstream.spec(),
        place: listed.place(index),
    };
    // Behind those that are listed stand those that routes have given.
    let upstreams = config.upstreams.iter().take(listed.count);
    upstreams.enumerate().map(origin).collect()
}

fn routes(config: &Config, layers: &Layers, file: &FileSettings) -> Vec<Origin> {
    if config.routes.is_empty() {
        return vec![plain(Setting::of(Id::Route), layers)];
    }
    let listed = Listed::of(Id::Route, layers, file.routes.as_ref());
    let routes = config.routes.iter().enumerate();
    routes
        .map(|(index, route)| {
            let to: Vec<_> = config
                .upstreams_of(Some(route))
                .into_iter()
                .map(super::UpstreamSettings::spec)
                .collect();
            Origin {
                key: format!("route \"{}\"", route.names()),
                value: to.join(", "),
                place: listed.place(index),
            }
        })
        .collect()
}

/// Who lists upstreams or routes.
struct Listed<'a> {
    items: &'a [Item],
    count: usize,
    place: Place,
}

impl<'a> Listed<'a> {
    fn of(id: Id, layers: &Layers, file: Option<&'a (Place, Vec<Item>)>) -> Self {
        let strongest = layers.strongest(id);
        let overruled = strongest.is_some_and(|(level, _)| level > Level::File);
        let items = match file {
            Some((_, items)) if !overruled => items.as_slice(),
            Some(_) | None => &[],
        };
        let count = match items {
            [] => layers.texts(id).len(),
            items => items.len(),
        };
        Self {
            items,
            count,
            place: strongest.map_or(Place::Default, |(_, place)| place.clone()),
        }
    }

    fn place(&self, index: usize) -> Place {
        match self.items.get(index) {
            Some(Item::Line(given)) => given.place.clone(),
            Some(Item::Table(entry)) => entry.place.clone(),
            None => self.place.clone(),
        }
    }
}

fn bootstrap(config: &Config, layers: &Layers) -> Vec<Origin> {
    let place = layers
        .strongest(Id::Bootstrap)
        .map_or(Place::Default, |(_, it)| it.clone());
    let origin = |upstream: &super::UpstreamSettings| Origin {
        key: format!("bootstrap \"{}\"", upstream.name),
        value: upstream.spec(),
        place: place.clone(),
    };
    config.bootstrap.iter().map(origin).collect()
}
