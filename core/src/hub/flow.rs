//! How bytes move through an operation: windows, credit, lanes, answers.

use alloc::format;
use alloc::vec::Vec;

use crate::payload::Payload;

use super::answer::blank;
use super::operation::{Operation, Phase, Plan, Presence};
use super::pattern::Pattern;
use super::peer::{Place, Sent};

use super::stream::{Lane, Stream};
use super::{Hub, Refusal, broken};
use crate::error::{Category, Fault};
use crate::rank::Rank;
use crate::wire::{Complete, Credit, Data, Down, GRAIN, Layout, Part};

impl Hub {
    /// Starts an operation once all that it needs have come: this is the one place that says so.
    pub(super) fn advance(&mut self, operation: &mut Operation, newcomer: usize) {
        match operation.phase {
            Phase::Gathering if operation.givers_missing == 0 && operation.incomplete == 0 => self.start(operation),
            Phase::Gathering if operation.is_complete() => self.reserve_windows(operation),
            // Somebody came after the givers: its result is here.
            Phase::Running => {
                self.serve_newcomer(operation, newcomer);
                if operation.is_complete() {
                    for position in operation.take_postponed() {
                        self.answer_if_done(operation, position);
                    }
                }
            }
            _ => {}
        }
    }

    pub(super) fn start(&mut self, operation: &mut Operation) {
        operation.phase = Phase::Running;
        operation.arrange_streams();
        operation.unopened = operation.opening_order();
        let streams = &operation.streams;
        operation.unopened.retain(|index| streams.get(*index).is_some_and(|stream| !stream.is_complete()));
        let whole = operation.incomplete == 0;
        if matches!(operation.plan, Plan::Fold(_))
            && let Err((fault, text)) = self.start_fold(operation, whole)
        {
            return self.fail_operation(operation, fault, &text);
        }
        if !self.prepare_all(operation) {
            return;
        }
        self.open_streams(operation);
        self.fold_next(operation);
        self.apply_if_complete(operation);
        self.split_if_complete(operation);
    }

    /// Serves whoever waits for what is there already. Returns whether the operation lives.
    pub(super) fn prepare_all(&mut self, operation: &mut Operation) -> bool {
        for position in 0..operation.size() {
            let waits = operation.participants.get(position).is_some_and(|one| one.is_present());
            if waits && !self.serve_newcomer(operation, position) {
                return false;
            }
        }
        true
    }

    /// Whether the lengths of the results are known.
    fn results_are_known(operation: &Operation) -> bool {
        match &operation.plan {
            Plan::Route | Plan::Fold(_) => true,
            // All of them come at once, when the function has returned, even if there are none.
            Plan::Apply { running, .. } => *running && !operation.at_work,
            Plan::Split => operation.streams.get(operation.group.sources).is_none_or(|stream| stream.open),
        }
    }

    /// Adds up what a participant gets, checks it, and begins to send it. Returns whether the operation lives.
    fn serve_newcomer(&mut self, operation: &mut Operation, position: usize) -> bool {
        if !Self::results_are_known(operation) {
            self.answer_if_done(operation, position);
            return true;
        }
        let (mut result, mut left, mut missing, mut first, mut varied) = (0u64, 0u32, 0u32, None, false);
        // What is combined has to be sent whole before its result is whole.
        let given = match operation.plan {
            Plan::Fold(_) => operation.streams.first().map_or(0, |stream| stream.len),
            _ => 0,
        };
        let mut outgrows = operation.incomplete > 0 && given > operation.window;
        let split = operation.receives_split(position);
        let size = operation.size() as u64;
        for (_, index) in operation.downs(position).iter() {
            let lane = operation.lane(index, position);
            let Some(stream) = operation.streams.get(index) else { continue };
            if stream.void || stream.lanes.get(lane).is_none_or(|lane| lane.done) {
                continue;
            }
            result = result.saturating_add(stream.len);
            left += 1;
            missing += u32::from(!stream.is_complete());
            // What does not fit its window can not be collected for one frame.
            outgrows |= operation.incomplete > 0 && !stream.is_complete() && stream.len > operation.window;
            varied |= *first.get_or_insert(stream.len) != stream.len;
        }
        let Some(one) = operation.participants.get_mut(position) else { return true };
        if one.downs_left > 0 || one.streaming {
            // It is being served already.
            return true;
        }
        // What is exact counts the own block, which stays at home.
        let expected = if split && one.exact { one.receive - one.receive / size.max(1) } else { one.receive };
        let (rank, exact, receive) = (one.rank, one.exact, one.receive);
        (one.result, one.downs_left, one.downs_missing) = (result, left, missing);
        let table = if varied { size * 8 } else { 0 };
        one.streaming = outgrows || result.saturating_add(table) > one.max_payload.min(one.window);
        // Blocks of one length are what an exact receive means.
        if left > 0 && (result > receive || (exact && (result != expected || (split && varied)))) {
            let text = format!(
                "{} gives rank {rank} {result} bytes, and it receives {expected}{}",
                operation.signature.describe(),
                self.site_of(rank, operation.participants.get(position).map_or(0, |one| one.site)),
            );
            let fault = Fault::of_size(Category::Truncated, result, expected);
            self.fail_operation(operation, fault, &text);
            return false;
        }
        self.pump(operation, position);
        true
    }

    /// Sends a participant what is there for it.
    fn pump(&mut self, operation: &mut Operation, position: usize) {
        let Some(one) = operation.participants.get(position) else { return };
        if one.presence != Presence::Present {
            return;
        }
        if one.streaming {
            for (_, index) in operation.downs(position).iter() {
                self.send_lane(operation, index, position);
            }
        }
        self.answer_if_done(operation, position);
    }

    /// Answers a participant that has given and got everything.
    fn answer_if_done(&mut self, operation: &mut Operation, position: usize) {
        // Who only gives learns, too, whether the user's code failed.
        let known = Self::results_are_known(operation);
        let Some(one) = operation.participants.get(position) else { return };
        let waits = one.presence == Presence::Present && one.ups_left == 0;
        if !waits || !known {
            return;
        }
        if one.streaming {
            if one.downs_left == 0 {
                self.answer(operation, position, Layout::Empty, Payload::new(), Sent::Nothing);
            }
        } else if one.downs_missing == 0 {
            let (layout, payload) = Self::compose(operation, position);
            let sent = Sent::Result { operation: operation.id, position };
            self.answer(operation, position, layout, payload, sent);
        }
    }

    fn answer(&mut self, operation: &mut Operation, position: usize, layout: Layout, payload: Payload, sent: Sent) {
        if self.postpones(operation, position) {
            return;
        }
        let sender = operation.participants.first().and_then(|one| operation.group.position(one.rank));
        let from = Rank::new(sender.unwrap_or_default() as u32);
        let Some(one) = operation.participants.get_mut(position) else { return };
        let Some(request) = one.request else { return };
        one.presence = Presence::Done;
        operation.unanswered -= 1;
        let (rank, bytes) = (one.rank, one.result);
        let complete = Complete { layout, source: from, tag: operation.tag, bytes, ..blank(request) };
        self.complete_request(rank, request, sent, payload, complete);
    }

    /// A participant's whole result as one payload.
    fn compose(operation: &Operation, position: usize) -> (Layout, Payload) {
        let split = operation.receives_split(position);
        let parts: Vec<(u32, &Stream)> = operation
            .downs(position)
            .iter()
            .filter_map(|(part, index)| {
                let stream = operation.streams.get(index)?;
                let excluded = stream.lanes.get(operation.lane(index, position)).is_none_or(|lane| lane.done);
                (!stream.void && !excluded).then_some((part, stream))
            })
            .collect();
        let bytes: u64 = parts.iter().map(|(_, stream)| stream.len).sum();
        if bytes == 0 {
            // Lengths of zero all are equal.
            return (Layout::Empty, Payload::new());
        }
        let mut pieces: Vec<Payload> = Vec::new();
        let first = parts.first().map_or(0, |(_, stream)| stream.len);
        let varied = split && parts.iter().any(|(_, stream)| stream.len != first);
        if varied {
            let mut table = alloc::vec![0u8; operation.size() * 8];
            for (part, stream) in &parts {
                if let Some(entry) = table.get_mut(*part as usize * 8..).and_then(|rest| rest.first_chunk_mut::<8>()) {
                    *entry = stream.len.to_le_bytes();
                }
            }
            pieces.push(table.into());
        }
        for (_, stream) in &parts {
            pieces.extend(stream.pieces(0, stream.len));
        }
        let layout = match (split, varied) {
            (false, _) => Layout::Single,
            (true, false) => Layout::Equal,
            (true, true) => Layout::Varied,
        };
        (layout, Payload::concat(&pieces))
    }

    /// Opens parts as far as their givers and receivers have room for them, in order.
    fn open_streams(&mut self, operation: &mut Operation) {
        let mut passed = alloc::collections::VecDeque::new();
        while let Some(index) = operation.unopened.pop_front() {
            let receivers = operation.receivers(index);
            let source = operation.streams.get(index).and_then(|stream| stream.source);
            let has_room = |position: &usize, ups: bool| {
                operation.participants.get(*position).is_some_and(|one| {
                    let open = if ups { one.ups_open } else { one.downs_open };
                    open < one.open_parts
                })
            };
            let mut all = receivers.clone().filter(|position| operation.receives(index, *position));
            let room =
                source.is_none_or(|source| has_room(&source, true)) && all.all(|position| has_room(&position, false));
            if !room {
                passed.push_back(index);
                let hopeless = match operation.pattern() {
                    Pattern::Gather => !has_room(&operation.root, false),
                    Pattern::Scatter => !has_room(&operation.root, true),
                    // Parts that several receive are opened in one order by all of them.
                    _ => receivers.clone().filter(|position| operation.receives(index, *position)).nth(1).is_some(),
                };
                if hopeless {
                    break;
                }
                continue;
            }
            if let Some(stream) = operation.streams.get_mut(index) {
                stream.open = true;
            }
            if let Some(giver) = source.and_then(|source| operation.participants.get_mut(source)) {
                giver.ups_open += 1;
            }
            for position in receivers {
                if operation.receives(index, position) {
                    self.send_lane(operation, index, position);
                }
            }
            self.grant(operation, index);
        }
        passed.append(&mut operation.unopened);
        operation.unopened = passed;
    }

    /// Tells a giver how far it may send.
    pub(super) fn grant(&mut self, operation: &mut Operation, index: usize) {
        let released = match &operation.plan {
            Plan::Route => operation.streams.get(index).map_or(0, Stream::released),
            // Results must not pile up either.
            Plan::Fold(folding) => folding.released,
            Plan::Apply { .. } | Plan::Split => u64::MAX,
        };
        let window = operation.window;
        let Some(stream) = operation.streams.get_mut(index) else { return };
        // What is released may end anywhere: at the end of a block, or of an element of a user's.
        let reach = released.saturating_add(window);
        let limit = if reach < stream.len { reach & !(GRAIN as u64 - 1) } else { stream.len };
        let enough = limit == stream.len || limit >= stream.granted.saturating_add(window / 4);
        if !stream.open || limit <= stream.granted || !enough {
            return;
        }
        stream.granted = limit;
        let (part, len) = (stream.up_part, stream.len);
        let giver = stream.source.and_then(|source| operation.participants.get(source));
        let Some((giver, request)) = giver.and_then(|one| Some((one.rank, one.request?))) else { return };
        if let Some(peer) = self.session(giver).and_then(|session| session.peer()) {
            self.send_urgent(peer, Down::Credit(Credit { request, part, limit, len }));
        }
    }

    /// Bytes that a call sends have come.
    pub(super) fn on_data(&mut self, rank: Rank, data: Data, payload: Payload) -> Result<(), Refusal> {
        let place = self.session(rank).and_then(|session| session.requests.get(&data.request)).copied();
        let (id, position) = match place {
            Some(Place::Operation { id, position }) => (id, position),
            Some(_) => return Err(broken("data without credit")),
            // The request has failed, and its rank does not know yet.
            None => return Ok(()),
        };
        let Some(mut operation) = self.operations.remove(&id) else { return Ok(()) };
        let result = self.take_data(&mut operation, position, data, payload);
        self.put_back(operation);
        result
    }

    fn take_data(
        &mut self,
        operation: &mut Operation,
        position: usize,
        data: Data,
        payload: Payload,
    ) -> Result<(), Refusal> {
        if operation.phase != Phase::Running {
            return Err(broken("data without credit"));
        }
        let index = operation.ups(position).get(data.part).ok_or_else(|| broken("data of a part that is not"))?;
        let Some(stream) = operation.streams.get_mut(index) else { return Err(broken("data of a part that is not")) };
        let before = stream.received;
        let end = before.checked_add(payload.len() as u64).ok_or_else(|| broken("data beyond reason"))?;
        if data.offset != before || end > stream.granted || stream.void {
            return Err(broken("data out of order or beyond credit"));
        }
        if payload.is_empty() || (end < stream.len && !payload.len().is_multiple_of(GRAIN)) {
            return Err(broken("data in crumbs"));
        }
        stream.push(payload);
        let complete = stream.is_complete();
        if complete {
            operation.incomplete -= 1;
            if let Some(giver) = operation.participants.get_mut(position) {
                giver.ups_left -= 1;
                giver.ups_open = giver.ups_open.saturating_sub(1);
            }
        }
        match &mut operation.plan {
            Plan::Route => {
                self.pass_on(operation, index, complete);
                // Where nobody receives, nothing will be passed on that could free the window.
                self.grant(operation, index);
            }
            Plan::Fold(folding) => {
                if before < folding.target && end >= folding.target {
                    folding.behind -= 1;
                }
                self.fold_next(operation);
            }
            Plan::Apply { .. } => self.apply_if_complete(operation),
            Plan::Split => self.split_if_complete(operation),
        }
        if complete {
            self.answer_if_done(operation, position);
            self.open_streams(operation);
        }
        Ok(())
    }

    /// Hands what has come on a stream to its receivers.
    pub(super) fn pass_on(&mut self, operation: &mut Operation, index: usize, complete: bool) {
        for position in operation.receivers(index) {
            if !operation.receives(index, position) {
                continue;
            }
            let Some(one) = operation.participants.get_mut(position) else { continue };
            if complete {
                one.downs_missing = one.downs_missing.saturating_sub(1);
            }
            if one.streaming {
                self.send_lane(operation, index, position);
            }
            self.answer_if_done(operation, position);
        }
    }

    /// Queues what a receiver may have of a stream.
    fn send_lane(&mut self, operation: &mut Operation, index: usize, position: usize) {
        let at = operation.lane(index, position);
        let part = if operation.receives_split(position) {
            operation.streams.get(index).and_then(|stream| stream.source).unwrap_or_default() as u32
        } else {
            0
        };
        let id = operation.id;
        let Some(one) = operation.participants.get_mut(position) else { return };
        let Some(stream) = operation.streams.get_mut(index) else { return };
        let (true, Some(request)) = (one.is_present() && one.streaming && !stream.void, one.request) else { return };
        let (opened, len) = (stream.open || stream.is_complete(), stream.len);
        let Some(Lane { queued, limit, announced, done }) = stream.lanes.get(at).copied() else { return };
        if done || !opened || (!announced && one.downs_open >= one.open_parts) {
            return;
        }
        let mut lane = Lane { queued, limit, announced: true, done };
        if !announced {
            // Beyond the first part, a rank with a window asks for every byte.
            let unasked = if one.announced && one.window < u64::MAX { 0 } else { one.window };
            one.announced |= len > 0;
            lane.limit = unasked.min(len);
            one.downs_open += 1;
            self.send(one.rank, Down::Part(Part { request, part, len }), Payload::new(), Sent::Nothing);
        }
        while lane.queued < stream.received.min(lane.limit) {
            let max = one.max_payload.min(lane.limit - lane.queued);
            let Some((bytes, ends)) = stream.next_chunk(lane.queued, max) else { break };
            let offset = lane.queued;
            lane.queued += bytes.len() as u64;
            let sent =
                if ends { Sent::Segment { operation: id, stream: index, end: lane.queued } } else { Sent::Nothing };
            self.send(one.rank, Down::Data(Data { request, part, offset }), bytes, sent);
        }
        if lane.queued == len {
            lane.done = true;
            one.downs_left -= 1;
            one.downs_open -= 1;
        }
        if let Some(place) = stream.lanes.get_mut(at) {
            *place = lane;
        }
    }

    /// A receiver has room for more.
    pub(super) fn on_credit(&mut self, rank: Rank, credit: Credit) -> Result<(), Refusal> {
        let place = self.session(rank).and_then(|session| session.requests.get(&credit.request)).copied();
        let Some(Place::Operation { id, position }) = place else { return Ok(()) };
        let Some(mut operation) = self.operations.remove(&id) else { return Ok(()) };
        // Before it starts there is nothing to give credit for, and nobody is to be answered.
        let runs = operation.phase == Phase::Running;
        if let Some(index) = operation.downs(position).get(credit.part).filter(|_| runs) {
            let at = operation.lane(index, position);
            if let Some(lane) = operation.streams.get_mut(index).and_then(|stream| stream.lanes.get_mut(at)) {
                lane.limit = lane.limit.max(credit.limit);
            }
            let open = |operation: &Operation| operation.participants.get(position).map_or(0, |one| one.downs_open);
            let before = open(&operation);
            self.send_lane(&mut operation, index, position);
            if open(&operation) < before {
                self.pump(&mut operation, position);
                self.open_streams(&mut operation);
            }
            self.answer_if_done(&mut operation, position);
        }
        self.put_back(operation);
        Ok(())
    }

    /// A frame has left: what it held is free.
    pub(super) fn sent(&mut self, sent: Sent) {
        let id = match sent {
            Sent::Nothing => return,
            Sent::Charge { rank, cost } => return self.free_charge(rank, cost),
            Sent::Segment { operation, .. } | Sent::Result { operation, .. } => operation,
        };
        let Some(mut operation) = self.operations.remove(&id) else { return };
        if operation.has_failed() {
            return self.put_back(operation);
        }
        match sent {
            Sent::Segment { stream, end, .. } => {
                let mut moved = false;
                if let Some(held) = operation.streams.get_mut(stream) {
                    let before = held.released();
                    let freed = held.passed(end);
                    moved = held.released() > before;
                    self.give_back(&operation, stream, freed);
                }
                let inputs = operation.input_streams();
                match &mut operation.plan {
                    // Only the slowest receiver sets the givers' pace.
                    Plan::Fold(folding) if moved => {
                        if folding.note_released(operation.streams.get(inputs..).unwrap_or_default()) {
                            for input in 0..inputs {
                                self.grant(&mut operation, input);
                            }
                        }
                    }
                    Plan::Route if moved => self.grant(&mut operation, stream),
                    Plan::Fold(_) | Plan::Route | Plan::Apply { .. } | Plan::Split => {}
                }
            }
            Sent::Result { position, .. } => {
                let downs: Vec<usize> = operation.downs(position).iter().map(|(_, index)| index).collect();
                for index in downs {
                    let at = operation.lane(index, position);
                    let Some(stream) = operation.streams.get_mut(index) else { continue };
                    let Some(lane) = stream.lanes.get_mut(at) else { continue };
                    if lane.done || stream.void {
                        continue;
                    }
                    lane.done = true;
                    let freed = stream.passed_all();
                    self.give_back(&operation, index, freed);
                }
            }
            Sent::Nothing | Sent::Charge { .. } => {}
        }
        self.put_back(operation);
    }

    pub(super) fn give_back(&mut self, operation: &Operation, stream: usize, freed: u64) {
        let source = operation.streams.get(stream).and_then(|stream| stream.source);
        if let Some(giver) = source.and_then(|source| operation.participants.get(source)) {
            self.free_charge(giver.rank, freed);
        }
    }
}
