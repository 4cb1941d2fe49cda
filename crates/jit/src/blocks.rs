//! The blocks of a function of machine instructions, as the register allocator reads them: the
//! same for all targets.
//!
//! Lists of blocks and of registers lie one behind the other in one list each, so that large
//! functions take few allocations. Registers that live long get the last numbers, see
//! [`Blocks::number_long_last`].

use regalloc2::{Block, Inst, InstRange, Operand, VReg};

use crate::ssa::ir::{BlockId, Func};

/// How many blocks a register may live through before it counts as one that lives long.
const LONG: u32 = 64;

/// A part of a list: from a place to another.
type Part = (u32, u32);

fn part<T>(list: &[T], (start, end): Part) -> &[T] {
    &list[start as usize..end as usize]
}

/// A block of machine instructions.
#[derive(Clone, Copy, Debug)]
struct Links {
    insts: Part,
    operands: Part,
    succs: [Block; 2],
    succ_count: u8,
    preds: Part,
    params: Part,
    args: Part,
}

/// The blocks of a function.
#[derive(Clone, Debug, Default)]
pub(crate) struct Blocks {
    links: Vec<Links>,
    preds: Vec<Block>,
    vregs: Vec<VReg>,
}

impl Blocks {
    /// The blocks of a function in an order, with the edges between them.
    pub(crate) fn new(func: &Func, order: &[BlockId]) -> Blocks {
        let mut place = vec![Block::invalid(); func.blocks.len()];
        for (index, id) in order.iter().enumerate() {
            place[id.index()] = Block::new(index);
        }
        let none = Links {
            insts: (0, 0),
            operands: (0, 0),
            succs: [Block::invalid(); 2],
            succ_count: 0,
            preds: (0, 0),
            params: (0, 0),
            args: (0, 0),
        };
        let mut links = vec![none; order.len()];
        let mut edges = 0;
        for (index, id) in order.iter().enumerate() {
            for to in func.blocks[id.index()].term.successors().into_iter().flatten() {
                let to = place[to.index()];
                let link = &mut links[index];
                link.succs[usize::from(link.succ_count)] = to;
                link.succ_count += 1;
                links[to.index()].preds.1 += 1;
                edges += 1;
            }
        }
        let mut start = 0;
        for link in &mut links {
            let end = start + link.preds.1;
            // It grows while the blocks are put there.
            link.preds = (start, start);
            start = end;
        }
        let mut preds = vec![Block::invalid(); edges];
        for index in 0..links.len() {
            let Links { succs, succ_count, .. } = links[index];
            for to in &succs[..usize::from(succ_count)] {
                let end = &mut links[to.index()].preds.1;
                preds[*end as usize] = Block::new(index);
                *end += 1;
            }
        }
        Blocks { links, preds, vregs: Vec::new() }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    /// The instructions of a block, from an index to another.
    pub(crate) fn insts(&self, block: usize) -> (usize, usize) {
        let (start, end) = self.links[block].insts;
        (start as usize, end as usize)
    }

    /// The same as the allocator says it.
    pub(crate) fn range(&self, block: usize) -> InstRange {
        let (start, end) = self.insts(block);
        InstRange::new(Inst::new(start), Inst::new(end))
    }

    /// Where a block leads.
    pub(crate) fn succs(&self, block: usize) -> &[Block] {
        let link = &self.links[block];
        &link.succs[..usize::from(link.succ_count)]
    }

    /// The blocks that lead to a block, once for each edge.
    pub(crate) fn preds(&self, block: usize) -> &[Block] {
        part(&self.preds, self.links[block].preds)
    }

    /// The registers that edges to a block bring a value to.
    pub(crate) fn params(&self, block: usize) -> &[VReg] {
        part(&self.vregs, self.links[block].params)
    }

    /// What the only edge of a block that jumps brings.
    pub(crate) fn args(&self, block: usize) -> &[VReg] {
        part(&self.vregs, self.links[block].args)
    }

    /// Sets what the only edge of a block brings.
    pub(crate) fn set_args(&mut self, block: usize, args: impl IntoIterator<Item = VReg>) {
        self.links[block].args = self.append(args);
    }

    /// Sets the registers that edges to a block bring a value to.
    pub(crate) fn set_params(&mut self, block: usize, params: impl IntoIterator<Item = VReg>) {
        self.links[block].params = self.append(params);
    }

    fn append(&mut self, vregs: impl IntoIterator<Item = VReg>) -> Part {
        let start = self.vregs.len() as u32;
        self.vregs.extend(vregs);
        (start, self.vregs.len() as u32)
    }

    /// Sets the instructions of a block that were made backwards, and their operands.
    pub(crate) fn set_made(&mut self, block: usize, insts: (usize, usize), operands: Part) {
        let link = &mut self.links[block];
        link.insts = (insts.0 as u32, insts.1 as u32);
        link.operands = operands;
    }

    /// Turns the places of instructions around that were made backwards.
    pub(crate) fn reverse(&mut self, total: usize) {
        for link in &mut self.links {
            let (start, end) = link.insts;
            link.insts = (total as u32 - end, total as u32 - start);
        }
    }

    /// Gives the last numbers to the registers that live through many blocks, the longest last.
    ///
    /// The allocator goes through the registers by number with a table of the blocks that a
    /// register lives through. It clears the table for each, and the table keeps the largest size
    /// that it had: long-lived registers that come first make the cost of all others grow with
    /// the function.
    pub(crate) fn number_long_last(&mut self, operands: &mut [Operand], vregs: usize) {
        if self.links.len() <= LONG as usize {
            return;
        }
        let mut lives = vec![(u32::MAX, 0_u32); vregs];
        for (index, link) in self.links.iter().enumerate() {
            let index = index as u32;
            let of_operands = part(operands, link.operands).iter().map(|operand| operand.vreg());
            let others = [part(&self.vregs, link.params), part(&self.vregs, link.args)];
            for vreg in of_operands.chain(others.into_iter().flatten().copied()) {
                let (first, last) = &mut lives[vreg.vreg()];
                *first = index.min(*first);
                *last = index.max(*last);
            }
        }
        let length = |(first, last): (u32, u32)| last.saturating_sub(first);
        let mut long: Vec<(u32, u32)> = Vec::new();
        let mut number = vec![0_u32; vregs];
        let mut next = 0;
        for (vreg, &life) in lives.iter().enumerate() {
            if length(life) > LONG {
                long.push((length(life), vreg as u32));
            } else {
                number[vreg] = next;
                next += 1;
            }
        }
        if long.is_empty() {
            return;
        }
        long.sort_unstable();
        for (_, vreg) in long {
            number[vreg as usize] = next;
            next += 1;
        }
        let new = |vreg: VReg| VReg::new(number[vreg.vreg()] as usize, vreg.class());
        for operand in operands {
            let (constraint, kind, pos) = (operand.constraint(), operand.kind(), operand.pos());
            *operand = Operand::new(new(operand.vreg()), constraint, kind, pos);
        }
        for vreg in &mut self.vregs {
            *vreg = new(*vreg);
        }
    }
}

#[cfg(test)]
mod tests {
    use regalloc2::RegClass;

    use super::*;
    use crate::ssa::ir::{Block as SsaBlock, Edge, Term, Val};

    /// Blocks in a row, each of which leads to the next.
    fn row(count: u32) -> Func {
        let mut func = Func::default();
        for index in 0..count {
            let to = BlockId(index + 1);
            let term = if to.0 < count {
                Term::Jump(Edge { to, args: Vec::new() })
            } else {
                Term::Return(Val(0))
            };
            func.blocks.push(SsaBlock { params: Vec::new(), nodes: Vec::new(), term, pc: 0 });
        }
        func
    }

    #[test]
    fn edges_lead_both_ways() {
        let func = row(3);
        let order = func.reverse_postorder();
        let blocks = Blocks::new(&func, &order);
        let numbers = |list: &[Block]| list.iter().map(|block| block.index()).collect::<Vec<_>>();
        assert_eq!(numbers(blocks.succs(0)), [1]);
        assert_eq!(numbers(blocks.preds(2)), [1]);
        assert!(blocks.preds(0).is_empty() && blocks.succs(2).is_empty());
    }

    #[test]
    fn registers_that_live_long_come_last() {
        let func = row(200);
        let order = func.reverse_postorder();
        let mut blocks = Blocks::new(&func, &order);
        let vreg = |number: usize| VReg::new(number, RegClass::Int);
        // The longest, one in a single block, another long one, one in two blocks.
        let lives = [(0, 0..200), (1, 7..8), (2, 50..150), (3, 20..22)];
        let mut operands = Vec::new();
        for block in 0..200 {
            let start = operands.len() as u32;
            for (number, life) in &lives {
                if life.start == block || life.end == block + 1 {
                    operands.push(Operand::reg_use(vreg(*number)));
                }
            }
            blocks.set_made(block, (block, block + 1), (start, operands.len() as u32));
        }
        blocks.set_args(10, [vreg(0), vreg(3)]);
        let before: Vec<usize> = operands.iter().map(|operand| operand.vreg().vreg()).collect();
        blocks.number_long_last(&mut operands, 4);
        let new = [3, 0, 2, 1];
        let after: Vec<usize> = operands.iter().map(|operand| operand.vreg().vreg()).collect();
        assert_eq!(after, before.iter().map(|old| new[*old]).collect::<Vec<_>>());
        assert_eq!(blocks.args(10), [vreg(3), vreg(1)]);
    }
}
