//! What is kept and the guard against rebinding: an answer is judged before it is kept, be it by who keeps it or by who puts it back, and all that is
//! kept is judged again when the guard is another.
//!
//! Deliberately absent: any look at the guard on the way of an answer that is kept.

use std::sync::Arc;

use super::slot::{Entry, Traits};
use super::{Cache, read, write};
use crate::policy::{Judgement, RebindingGuard};
use crate::upstream::GroupId;
use crate::wire::ResponseView;

impl Cache {
    /// What is put back from now on passes this guard. What is kept already stays until [`Cache::judge_again`].
    pub fn set_guard(&self, guard: Option<Arc<RebindingGuard>>) {
        *write(&self.guard) = guard;
    }

    /// The guard in force.
    #[must_use]
    pub fn guard(&self) -> Option<Arc<RebindingGuard>> {
        read(&self.guard).clone()
    }

    /// Takes out what the guard does not let pass, and what stands for an answer that was not told, which it may let pass; gives back how many
    /// answers that are. As with [`Cache::forget`] this is not for the thread that answers clients.
    pub fn judge_again(&self) -> usize {
        let guard = self.guard();
        self.take_out(|slot| slot.has(Traits::WITHHELD) || !is_good(guard.as_deref(), &slot))
    }
}

fn is_good(guard: Option<&RebindingGuard>, slot: &Entry<'_>) -> bool {
    let view = ResponseView::parse(slot.message());
    let group = GroupId(slot.group().into());
    // Among the additional records as well: they are not told apart any more once they are kept.
    guard.is_none() || view.is_ok_and(|view| judge(guard, group, &view) == Judgement::Good)
}

/// The response as far as it may be told; `None` when it may not.
pub(super) fn judged<'a>(
    guard: Option<&RebindingGuard>,
    group: GroupId,
    view: ResponseView<'a>,
) -> Option<ResponseView<'a>> {
    match judge(guard, group, &view) {
        Judgement::Good => Some(view),
        Judgement::GoodAlone => Some(view.without_additionals()),
        Judgement::Private => None,
    }
}

/// Judges what `group` said. That of a route is believed: the operator has named who is asked.
fn judge(guard: Option<&RebindingGuard>, group: GroupId, view: &ResponseView<'_>) -> Judgement {
    match (guard, view.question()) {
        (Some(guard), Some(question)) if group == GroupId::DEFAULT => {
            guard.judge(question.qname(), view)
        }
        (Some(_) | None, _) => Judgement::Good,
    }
}
