//! A look into the cache: what is kept of a name, all of it, and taking it out or putting it back.

use core::time::Duration;

use super::guarded::judged;
use super::settle::Settled;
use super::slot::{Content, Entry, Traits};
use super::{Cache, read, write};
use crate::exchange::Asked;
use crate::time::Moment;
use crate::upstream::GroupId;
use crate::wire::edns::ExtendedError;
use crate::wire::{Name, QuestionRef, Rcode, ReplyOrigin, ResponseView, name};

/// One kept answer.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// What it answers, as its first client spelled it.
    pub question: QuestionRef<'a>,
    /// Who was asked.
    pub group: GroupId,
    /// Whether it is for clients who set DO.
    pub dnssec_ok: bool,
    /// Whether it is for clients who set CD.
    pub checking_disabled: bool,
    /// Whether it came in the clear.
    pub origin: ReplyOrigin,
    /// What it is.
    pub kind: Kind,
    /// Its RCODE.
    pub rcode: Rcode,
    /// Its extended error.
    pub error: Option<ExtendedError<'a>>,
    /// How long ago it came.
    pub age: Duration,
    /// How long it may be kept in all, counted from then.
    pub lifetime: Duration,
    /// The message without OPT record, its TTLs as they were when it came.
    pub message: &'a [u8],
}

/// What a kept answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Data of the type asked for.
    Positive,
    /// There is no such name or no such data.
    Negative,
    /// Nobody could answer.
    Failure,
    /// There is an answer that is not told.
    Withheld,
}

impl Kept<'_> {
    /// How long it is still fresh; zero when it is stale.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.lifetime.saturating_sub(self.age)
    }
}

/// An answer somebody else kept, to be put back. Nothing of it is trusted.
#[derive(Clone, Copy, Debug)]
pub struct Restored<'a> {
    /// Who was asked.
    pub group: GroupId,
    /// Whether it is for clients who set DO.
    pub dnssec_ok: bool,
    /// Whether it is for clients who set CD.
    pub checking_disabled: bool,
    /// Whether it came in the clear, so that its AD is not believed.
    pub origin: ReplyOrigin,
    /// How long ago it came.
    pub age: Duration,
    /// The message, its TTLs as they were when it came.
    pub message: &'a [u8],
}

/// Why an answer was not put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreFault {
    /// Nothing is kept here.
    Off,
    /// It is no well-formed response with one question.
    Malformed,
    /// It may not be kept, by the rules for a response that has just come.
    NotKeepable,
    /// It has a private address, and may have none.
    Private,
    /// Its group does not exist.
    Group,
    /// Its time has passed, even as stale data.
    TooOld,
}

impl core::fmt::Display for RestoreFault {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Off => "nothing is kept",
            Self::Malformed => "no well-formed response",
            Self::NotKeepable => "may not be kept",
            Self::Private => "has a private address",
            Self::Group => "of a route that is not there",
            Self::TooOld => "too old",
        })
    }
}

impl core::error::Error for RestoreFault {}

/// How far somebody has come who looks at everything ([`Cache::visit_next`]). The default is the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    shard: usize,
    page: usize,
}

impl Cache {
    /// Looks at everything that is kept, stale answers and failures included, in no order, in pieces as [`Cache::visit_next`].
    pub fn visit(&self, now: Moment, mut each: impl FnMut(Kept<'_>)) {
        let mut progress = Progress::default();
        while self.visit_next(&mut progress, now, &mut each) {}
    }

    /// Looks at the next piece: at most as many answers as there are slots in a page, a thousand or so. False when there is none left.
    ///
    /// Who writes waits while a piece is shown, and who asks waits behind him, so `each` should copy what it wants and be done. Between two
    /// pieces answers come and go: one that comes may be missed, and one that is put back under way seen twice.
    pub fn visit_next(
        &self,
        progress: &mut Progress,
        now: Moment,
        each: impl FnMut(Kept<'_>),
    ) -> bool {
        let Some(shard) = self.shards.get(progress.shard) else {
            return false;
        };
        let store = read(&shard.store);
        if let Some(entries) = store.of_page(progress.page) {
            entries.filter_map(|slot| kept(slot, now)).for_each(each);
            progress.page += 1;
        } else {
            progress.shard += 1;
            progress.page = 0;
        }
        true
    }

    /// Looks at what is kept of one name, whatever the type, the flags and the group.
    pub fn visit_name(&self, name: &Name, now: Moment, mut each: impl FnMut(Kept<'_>)) {
        self.visit(now, |kept| {
            let qname = kept.question.qname();
            if qname.eq_ignore_ascii_case(name.as_octets()) {
                each(kept);
            }
        });
    }

    /// Takes out everything at or below `suffix`, or everything; gives back how many answers that were.
    pub fn flush(&self, suffix: Option<&Name>) -> usize {
        let gone = |slot: Entry<'_>| {
            suffix.is_none_or(|suffix| {
                let question = slot.question();
                question.is_some_and(|it| name::has_suffix(it.qname(), suffix.as_octets()))
            })
        };
        self.take_out(gone)
    }

    /// Forgets the answers of these groups; gives back how many. All that is kept is looked through, so this is not for the thread that answers
    /// clients.
    pub fn forget(&self, groups: &[GroupId]) -> usize {
        self.take_out(|slot| groups.contains(&GroupId(slot.group().into())))
    }

    /// Takes out all that `gone` says, a page of slots at a time: they are looked for beside those who read, who wait for no more than their
    /// removal. What comes meanwhile may stay.
    pub(super) fn take_out(&self, gone: impl Fn(Entry<'_>) -> bool) -> usize {
        let mut taken = 0;
        for shard in &self.shards {
            for page in 0.. {
                let going = read(&shard.store).going(page, &gone);
                match going {
                    None => break,
                    Some(going) if going.is_empty() => {}
                    Some(going) => taken += write(&shard.store).remove_all(&going),
                }
            }
            let emptied = write(&shard.store).take_if_empty();
            // Giving so much memory back takes a while, and nobody waits for it.
            drop(emptied);
        }
        taken
    }

    /// Puts an answer back, if it may be kept and is not known here yet.
    ///
    /// # Errors
    ///
    /// [`RestoreFault`]: why it was not.
    pub fn restore(&self, restored: &Restored<'_>, now: Moment) -> Result<(), RestoreFault> {
        if !self.is_on() {
            return Err(RestoreFault::Off);
        }
        if restored.group.0 >= self.groups() {
            return Err(RestoreFault::Group);
        }
        let view = ResponseView::parse(restored.message).map_err(|_| RestoreFault::Malformed)?;
        let Some(question) = view.question().filter(|it| view.answers(*it)) else {
            return Err(RestoreFault::Malformed);
        };
        let asked = Asked {
            question: question.to_owned(),
            dnssec_ok: restored.dnssec_ok,
            checking_disabled: restored.checking_disabled,
            group: restored.group,
        };
        // Held until it is stored: who changes the guard finds it then.
        let guard = read(&self.guard);
        let view = judged(guard.as_deref(), restored.group, view).ok_or(RestoreFault::Private)?;
        let (settled, stored) = self.settle_old(&view, restored.age, now)?;
        let (key, shard) = self.key(&asked).ok_or(RestoreFault::Group)?;
        let content = Content::of(&settled, restored.origin);
        let mut store = write(&shard.store);
        let known = store.find(&key);
        if known.is_none_or(|slot| !self.is_usable(&slot, now)) {
            let stored = store.insert(&key, &content, stored);
            shard.counters.note(stored);
        }
        Ok(())
    }

    /// Settles a response that came `age` ago: TTLs are what is left of them, and it counts as stored now, or when it became stale.
    fn settle_old(
        &self,
        view: &ResponseView<'_>,
        age: Duration,
        now: Moment,
    ) -> Result<(Settled, Moment), RestoreFault> {
        let mut settled = Settled::default();
        settled.settle(view, self.rules());
        let lifetime = settled.lifetime();
        if lifetime == 0 {
            return Err(RestoreFault::NotKeepable);
        }
        // A part of a second is a whole one: never fresher than it was.
        let age = age
            .as_secs()
            .saturating_add((age.subsec_nanos() > 0).into());
        let expired = Duration::from_secs(age.saturating_sub(lifetime.into()));
        // The clock of this machine may have begun after it expired; then it cannot be said how stale it is.
        if age >= u64::from(lifetime) + self.rules.stale().as_secs()
            || now.since(Moment::ZERO) < expired
        {
            return Err(RestoreFault::TooOld);
        }
        settled.grow_older(u32::try_from(age).unwrap_or(u32::MAX));
        Ok((settled, now - expired))
    }
}

fn kept(slot: Entry<'_>, now: Moment) -> Option<Kept<'_>> {
    let kind = if slot.has(Traits::FAILURE) {
        Kind::Failure
    } else if slot.has(Traits::WITHHELD) {
        Kind::Withheld
    } else if slot.has(Traits::NEGATIVE) {
        Kind::Negative
    } else {
        Kind::Positive
    };
    Some(Kept {
        question: slot.question()?,
        group: GroupId(slot.group().into()),
        dnssec_ok: slot.has(Traits::DNSSEC_OK),
        checking_disabled: slot.has(Traits::CHECKING_DISABLED),
        origin: slot.origin(),
        kind,
        rcode: slot.rcode(),
        error: slot.error(),
        age: now.since(slot.stored),
        lifetime: Duration::from_secs(slot.lifetime.into()),
        message: slot.message(),
    })
}
