from __future__ import annotations

import pytest

from lakeflow_job_meta.local.dxr.checks import check, names

GOOD = {
    "payment_card": ["4111 1111 1111 1111", "378282246310005", "5555-5555-5555-4444", "6011111111111117"],
    "iban": ["DE89 3704 0044 0532 0130 00", "GB82WEST12345698765432"],
    "us_ssn": ["536-22-1234", "078-05-1121"],
    "uk_nhs": ["943 476 5919"],
    "es_dni": ["12345678Z"],
    "fr_nir": ["2 95 10 99 126 111 93"],
    "nl_bsn": ["111222333"],
    "br_cpf": ["390.533.447-05"],
    "phone_us": ["+34 600 123 456", "212-736-5000", "(212) 736-5000"],
    "phone_gb": ["020 7946 0958"],
    "us_routing_number": ["021000021"],
}
BAD = {
    "payment_card": ["4111 1111 1111 1112", "0000 0000 0000 0000", "1234 5678 9012 3452", "4111"],
    "iban": ["DE89 3704 0044 0532 0130 01", "XX82WEST12345698765432"],
    "us_ssn": ["666-12-1234", "000-12-1234", "536-00-1234", "536-22-0000", "900-12-1234", "078-05-1120"],
    "uk_nhs": ["943 476 5918"],
    "es_dni": ["12345678A"],
    "fr_nir": ["2 95 10 99 126 111 94"],
    "nl_bsn": ["111222334"],
    "br_cpf": ["390.533.447-06"],
    "phone_us": ["+34 000", "123-456-7890", "not a phone"],
    "us_routing_number": ["021000022"],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in GOOD for value in GOOD[name]])
def test_a_valid_number_is_kept(name, value):
    """What a standard calls valid passes its check."""
    valid = check(name)
    assert valid is not None
    assert valid(value)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name in BAD for value in BAD[name]])
def test_a_wrong_checksum_or_range_is_dropped(name, value):
    """A number of the right shape with a wrong digit, or from a range never given out, is no finding."""
    valid = check(name)
    assert valid is not None
    assert not valid(value)


def test_every_name_has_a_check_that_answers():
    """`names` promises only checks that are there, and each of them takes any text."""
    for name in names():
        valid = check(name)
        assert valid is not None
        assert valid("nonsense") is False


def test_unknown_check():
    """A name that stands for nothing gives None, which rules turn into an error."""
    assert check("luhnn") is None
