/* What the tables of a cell's plan hold; `compiler/plan.py` describes both. H is the number of units. */
#ifndef LONGLAG_PLAN_H
#define LONGLAG_PLAN_H

/* A product of a step: `count` slots from `slot` on += source * U'. U is block number `block`, H columns, of weight_hh
   number `product`, which has `blocks` of them. The source is a state in stage 1, an intermediate in stage 2. */
typedef struct {
    int stage, source, product, block, blocks, slot, count;
} Term;

/* `count` neighbouring gates of a packed weight, from gate `row` on, which belong to the slots from `slot` on */
typedef struct {
    int row, slot, count;
} Run;

#endif
