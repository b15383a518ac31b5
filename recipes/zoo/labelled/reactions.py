"""Chemical reactions that the papers of rxnmapper and rxnfp use as examples, as SMILES.

No reaction ships with the class that a chemist gave it. So masked atoms are what can be scored.
"""

from __future__ import annotations

import random
import re

from labelled import Labelled

SEED = 7
# From the READMEs of both packages and the tests of rxnmapper (MIT).
REACTIONS = (
    "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F",
    "C1COCCO1.CC(C)(C)OC(=O)CONC(=O)NCc1cccc2ccccc12.Cl>>O=C(O)CONC(=O)NCc1cccc2ccccc12",
    "Nc1cccc2cnccc12.O=C(O)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1>>O=C(Nc1cccc2cnccc12)c1cc([N+](=O)[O-])c(Sc2c(Cl)cncc2Cl)s1",
    "COC(=O)CCBr.O=C[O-].[K+]>>COC(=O)CCOC(=O)C",
    "CC[O-].[Na+].BrCC>>CCOCC",
    "CCC[O-].[Na+].BrCC>>CCOCCC",
    "NCC[O-].[Na+].BrCC>>NCCOCC",
    "CCO.BrCFC>>CCOCFC",
    "CCCF.O>>OCCCF",
)
_TOKEN = re.compile(r"\[[^\]]+]|Br?|Cl?|[NOSPFIbcnosp()=]")


def masked_atoms() -> Labelled:
    """Every reaction with each of its atoms and bonds masked in turn; the label is the token."""
    rows, labels = [], []
    for reaction in REACTIONS:
        for token in _TOKEN.finditer(reaction):
            rows.append({"text": f"{reaction[: token.start()]}[MASK]{reaction[token.end() :]}"})
            labels.append(token.group())
    return Labelled(rows, labels, "masked tokens of nine reactions")


def rewritten(count: int) -> Labelled:
    """Reactions, each followed by itself with its precursors in another order, which means the same."""
    rng = random.Random(SEED)
    found = []
    for _ in range(count):
        reaction = rng.choice(REACTIONS)
        precursors, _, products = reaction.partition(">>")
        parts = precursors.split(".")
        rng.shuffle(parts)
        found += [reaction, f"{'.'.join(parts)}>>{products}"]
    made = "no labels ship: same class when rewritten"
    return Labelled([{"text": text} for text in found], None, made)
