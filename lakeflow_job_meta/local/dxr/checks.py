"""Checksums and number rules behind annotators: a pattern finds candidates, a check keeps the real ones.

Numbers that have a standard are checked by python-stdnum, telephone numbers by phonenumbers.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from importlib import import_module

Check = Callable[[str], bool]

_STANDARDS = {
    "luhn": "stdnum.luhn",
    "iban": "stdnum.iban",
    "bic": "stdnum.bic",
    "us_ssn": "stdnum.us.ssn",
    "us_ein": "stdnum.us.ein",
    "us_routing_number": "stdnum.us.rtn",
    "uk_nhs": "stdnum.gb.nhs",
    "uk_vat": "stdnum.gb.vat",
    "es_dni": "stdnum.es.dni",
    "es_nie": "stdnum.es.nie",
    "fr_nir": "stdnum.fr.nir",
    "de_tax_id": "stdnum.de.idnr",
    "it_fiscal_code": "stdnum.it.codicefiscale",
    "nl_bsn": "stdnum.nl.bsn",
    "pl_pesel": "stdnum.pl.pesel",
    "br_cpf": "stdnum.br.cpf",
    "ca_sin": "stdnum.ca.sin",
    "in_aadhaar": "stdnum.in_.aadhaar",
    "au_tfn": "stdnum.au.tfn",
    "eu_vat": "stdnum.eu.vat",
    "isin": "stdnum.isin",
    "imei": "stdnum.imei",
}


def check(name: str) -> Check | None:
    """The check of that name, None when there is none."""
    if name == "payment_card":
        return payment_card
    if name.startswith("phone_"):
        return functools.partial(_phone, region=name[len("phone_") :].upper())
    module = _STANDARDS.get(name)
    return None if module is None else functools.partial(_standard, module=module)


def names() -> list[str]:
    """What `check` knows; `phone_us` stands for any country."""
    return ["payment_card", "phone_us", *_STANDARDS]


_CARDS = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d{2}|7[01]\d|720)\d{12}|3[47]\d{13}"
    r"|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|5\d{2}|4[4-9]\d)\d{12}|35(?:2[89]|[3-8]\d)\d{12}"
)


def payment_card(value: str) -> bool:
    """A number in the range of an issuer whose last digit is right by Luhn's rule (ISO/IEC 7812)."""
    digits = re.sub(r"\D", "", value)
    return _CARDS.fullmatch(digits) is not None and len(set(digits)) > 1 and _standard(digits, "stdnum.luhn")


@functools.cache
def _module(name: str) -> Callable[[str], bool]:
    valid: Callable[[str], bool] = import_module(name).is_valid
    return valid


def _standard(value: str, module: str) -> bool:
    return bool(_module(module)(value))


def _phone(value: str, region: str) -> bool:
    import phonenumbers

    try:
        number = phonenumbers.parse(value, None if value.lstrip().startswith("+") else region)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number)
