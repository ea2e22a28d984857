//! From command line, environment and file to the checked configuration, or to all faults at once.
//!
//! Everything comes in as an argument: nothing here looks at the process, so a test can say what
//! the environment and the files are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Config;
use super::build;
use super::fault::{Fault, Problem};
use super::file::{self, FileSettings};
use super::files::{NamedFile, ReadFiles};
use super::layers::{self, Given, Layers, Level, Values};
use super::older::{self, Compat, OlderGiven};
use super::origin::{self, Effective, Origin};
use super::place::{Place, SourceFile};
use super::report::Warning;
use super::value::{self, Value};
use crate::cli::Options;
use crate::env;
use crate::settings::{Id, Setting};

/// The file that is read, if it exists, when nobody names one.
pub const DEFAULT_FILE: &str = "/etc/dotward/dotward.toml";

/// Where commands look for the control socket when nobody says anything: where a unit with `RuntimeDirectory=dotward` has it.
pub const DEFAULT_CONTROL: &str = "/run/dotward/control.sock";

/// What the configuration in force was read from. It decides what it means that there is nothing now where settings were before: defaults in their place would send
/// names that routes keep elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InForce {
    /// No file: that [`DEFAULT_FILE`] is not there when nobody names one, and that a file is empty, says that there are no settings in a file.
    WithoutFile,
    /// An empty file: that it is gone is a fault, like that of a file that is named.
    EmptyFile,
    /// A file with something in it: that it is empty is a fault too. Whoever writes it has truncated it, and is not done.
    File,
}

/// A configuration that can be used.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What should be known besides.
    pub warnings: Vec<Warning>,
    /// Each value and where it came from.
    pub origins: Vec<Origin>,
    /// The same as the file would say it, without repeated tables.
    pub effective: Vec<Effective>,
    /// The file that was read.
    pub file: Option<PathBuf>,
    /// What it will be to the next reading, once it is in force.
    pub in_force: InForce,
}

/// Why there is no configuration: at least one fault.
#[derive(Debug)]
pub struct Refused {
    /// The faults in reading order: the file, the environment, the command line.
    pub faults: Vec<Fault>,
    /// What should be known besides.
    pub warnings: Vec<Warning>,
}

/// Loads the configuration for the first time.
///
/// # Errors
///
/// Every fault of command line, environment, file and the files they name, all together.
pub fn load(
    options: &Options,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    files: &dyn ReadFiles,
) -> Result<Loaded, Refused> {
    load_where(options, variables, files, InForce::WithoutFile)
}

/// The same while a configuration is in force: that there is no file, or nothing in it, may be a fault.
///
/// # Errors
///
/// As [`load()`].
pub fn load_where(
    options: &Options,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    files: &dyn ReadFiles,
    in_force: InForce,
) -> Result<Loaded, Refused> {
    let mut loading = Loading::new(files, in_force);
    let mut given = OlderGiven::default();
    loading.command_line(options, &mut given);
    loading.environment(variables, &mut given);
    let compat = loading.compat();
    let used = older::translate(&given, compat, &mut loading.layers, &mut loading.faults);
    let (file, settings) = loading.file();
    loading.warnings.extend(used.warnings(&loading.layers));
    let values = loading.layers.parse(&mut loading.faults);
    let parts = build::Parts {
        layers: &loading.layers,
        values: &values,
        file: &settings,
        files,
    };
    let built = build::build(&parts, &mut loading.faults, &mut loading.warnings);
    let Loading {
        layers,
        mut faults,
        warnings,
        in_force,
        ..
    } = loading;
    match built {
        Some(config) if faults.is_empty() => {
            let origins = origin::of(&config, &layers, &settings);
            Ok(Loaded {
                config,
                warnings,
                origins,
                effective: origin::effective(&layers),
                file,
                in_force,
            })
        }
        Some(_) | None => {
            faults.sort_by(|one, other| one.place.order(&other.place));
            Err(Refused { faults, warnings })
        }
    }
}

/// Where the control socket of a program with these settings is; `None` when it is turned off. Nothing else of the configuration
/// matters, so that a running program can be spoken to while its file is being edited.
///
/// # Errors
///
/// The faults of `listen.control`.
pub fn control_path(
    options: &Options,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    files: &dyn ReadFiles,
) -> Result<Option<PathBuf>, Refused> {
    let mut loading = Loading::new(files, InForce::WithoutFile);
    let mut given = OlderGiven::default();
    loading.command_line(options, &mut given);
    loading.environment(variables, &mut given);
    loading.file();
    let texts = loading.layers.texts(Id::ListenControl);
    if texts.is_empty() {
        // A file that was named may have said where.
        let unreadable = |it: &Fault| {
            it.place != Place::Default && matches!(it.problem, Problem::Unreadable { .. })
        };
        let faults: Vec<_> = loading.faults.into_iter().filter(unreadable).collect();
        let warnings = Vec::new();
        return match faults.is_empty() {
            true => Ok(Some(PathBuf::from(DEFAULT_CONTROL))),
            false => Err(Refused { faults, warnings }),
        };
    }
    let mut faults = Vec::new();
    let parsed = layers::parse_all(Id::ListenControl, texts, &mut faults);
    if faults.is_empty() {
        let values = Values::of([(Id::ListenControl, parsed)].into());
        return Ok(build::control(&values));
    }
    let warnings = Vec::new();
    Err(Refused { faults, warnings })
}

struct Loading<'a> {
    files: &'a dyn ReadFiles,
    in_force: InForce,
    layers: Layers,
    faults: Vec<Fault>,
    warnings: Vec<Warning>,
}

impl<'a> Loading<'a> {
    fn new(files: &'a dyn ReadFiles, in_force: InForce) -> Self {
        let layers = Layers::of_defaults();
        Self {
            files,
            in_force,
            layers,
            faults: Vec::new(),
            warnings: Vec::new(),
        }
    }

    fn command_line(&mut self, options: &Options, older: &mut OlderGiven) {
        let (settings, given, faults) = options.read();
        self.faults.extend(faults);
        older.flags = given;
        for (id, place, values) in settings {
            if id == Id::Debug {
                // Short for a log level, so it stands below one that is spelt out.
                let level = Given {
                    text: "debug".into(),
                    place: place.clone(),
                };
                self.layers
                    .put(Id::LogLevel, Level::OlderFlag, &place, vec![level]);
            }
            if id == Id::NoSandbox {
                let off = Given {
                    text: "false".into(),
                    place: place.clone(),
                };
                self.layers.put(Id::Sandbox, Level::Flag, &place, vec![off]);
            }
            self.layers.put(id, Level::Flag, &place, values);
        }
    }

    fn environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        older: &mut OlderGiven,
    ) {
        let read = env::read(variables);
        self.faults.extend(read.faults);
        self.warnings.extend(read.warnings);
        older.variables = read.older;
        if let Some(given) = read.control {
            let place = given.place.clone();
            self.layers
                .put(Id::ListenControl, Level::Default, &place, vec![given]);
        }
        for (id, place, values) in read.settings {
            self.layers.put(id, Level::Variable, &place, values);
        }
    }

    /// Which older names are read. A word nobody knows is a fault already; it reads none, so that no
    /// second fault follows from it.
    fn compat(&self) -> Compat {
        let Some(given) = self.layers.texts(Id::Compat).last() else {
            return Compat::ByCompany;
        };
        match value::parse(Setting::of(Id::Compat).kind, &given.text) {
            Ok(Value::Word("b")) => Compat::B,
            Ok(Value::Word("c")) => Compat::C,
            Ok(_) => Compat::Off,
            Err(_) => Compat::ByCompany,
        }
    }

    fn file(&mut self) -> (Option<PathBuf>, FileSettings) {
        let (path, text) = match self.file_text() {
            Ok(Some(found)) => found,
            Ok(None) => return (None, FileSettings::default()),
            Err(fault) => {
                self.faults.push(fault);
                return (None, FileSettings::default());
            }
        };
        let is_empty = text.trim().is_empty();
        if is_empty && self.in_force == InForce::File {
            let problem = Problem::Emptied { path };
            self.faults.push(Fault::new(&Place::Default, problem));
            return (None, FileSettings::default());
        }
        self.in_force = if is_empty {
            InForce::EmptyFile
        } else {
            InForce::File
        };
        let source = Arc::new(SourceFile {
            name: path.display().to_string(),
            text,
        });
        let read = file::read(&source, &mut self.faults);
        for (id, place, values) in &read.settings {
            self.layers.put(*id, Level::File, place, values.clone());
        }
        (Some(path), read)
    }

    fn file_text(&self) -> Result<Option<(PathBuf, String)>, Fault> {
        let key = Setting::of(Id::ConfigFile).title();
        let Some(given) = self.layers.texts(Id::ConfigFile).last() else {
            let path = PathBuf::from(DEFAULT_FILE);
            let file = NamedFile {
                path: path.clone(),
                key,
                place: Place::Default,
            };
            return match (file.text_if_there(self.files)?, self.in_force) {
                (Some(text), _) => Ok(Some((path, text))),
                (None, InForce::WithoutFile) => Ok(None),
                (None, InForce::EmptyFile | InForce::File) => {
                    Err(Fault::new(&file.place, Problem::Gone { path }))
                }
            };
        };
        if given.text.is_empty() {
            // A fault of the setting already.
            return Ok(None);
        }
        let path = Path::new(&given.text).to_owned();
        let file = NamedFile {
            path: path.clone(),
            // As it was written: not every command has it as an option.
            key: match given.place.to_string().split_once(' ') {
                Some((_, argument)) => argument.to_owned(),
                None => key,
            },
            place: given.place.clone(),
        };
        file.text(self.files).map(|text| Some((path, text)))
    }
}
