"""No octets make a parser fail in any way but its own.

Each parser of the table gets its samples with faults put in, and may raise what it says it raises
and nothing else. `make fuzz` runs this for as long as one likes. The protocol machines, which are
fed by reads, are beside this file.
"""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from property.mutation import almost
from property.parsers import PARSERS


@pytest.mark.parametrize("name", PARSERS)
@given(st.data())
@settings(suppress_health_check=[HealthCheck.too_slow])
def test_a_parser_refuses_in_its_own_way_alone(name: str, data: st.DataObject) -> None:
    parser = PARSERS[name]
    octets = data.draw(almost(*parser.samples), label=name)
    with contextlib.suppress(*parser.refusals):
        parser.parse(octets)


@pytest.mark.parametrize("name", PARSERS)
def test_the_first_sample_is_of_the_right_form(name: str) -> None:
    """Else what is made of it would be refused at the first look."""
    parser = PARSERS[name]
    parser.parse(parser.samples[0])
