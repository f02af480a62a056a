"""Which addresses a request may go to. Pure.

A URL of an endpoint may name any host, and a name may resolve to anything: so every address is judged that a name
resolves to, before the connection to it is made. Only public unicast addresses pass, and those in networks that the
endpoint names itself.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

Network = IPv4Network | IPv6Network

_V4: Final = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "this network"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared with a provider"),
        ("127.0.0.0/8", "loopback"),
        # Also where clouds serve metadata and credentials.
        ("169.254.0.0/16", "link-local"),
        ("168.63.129.16/32", "metadata of a cloud"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.31.196.0/24", "reserved"),
        ("192.52.193.0/24", "reserved"),
        ("192.88.99.0/24", "6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved"),
        ("198.18.0.0/15", "benchmarks"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6: Final = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:0:0/96", "IPv4-mapped"),
        ("::/96", "IPv4-compatible"),
        ("64:ff9b::/96", "NAT64"),
        ("64:ff9b:1::/48", "NAT64"),
        ("100::/64", "discarded"),
        ("2001::/32", "Teredo"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("2002::/16", "6to4"),
        ("2620:4f:8000::/48", "reserved"),
        ("3fff::/20", "documentation"),
        ("5f00::/16", "segment routing"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "site-local"),
        ("ff00::/8", "multicast"),
    )
)
_PUBLIC_V6: Final = IPv6Network("2000::/3")
"""All that is handed out as global unicast; the rest of the space is reserved."""


def why_refused(address: str, allowed: Iterable[Network] = ()) -> str:
    """Return why no request may go to an address, "" where it may. A name is no address, and is refused."""
    try:
        found = ip_address(address)
    except ValueError:
        return "not an address"
    if any(found.version == network.version and found in network for network in allowed):
        return ""
    if isinstance(found, IPv4Address):
        return next((what for network, what in _V4 if found in network), "")
    return _why_refused_v6(found)


def _why_refused_v6(found: IPv6Address) -> str:
    if found.scope_id is not None:
        return "bound to an interface"
    what = next((what for network, what in _V6 if found in network), "")
    return what or ("" if found in _PUBLIC_V6 else "reserved")


def read_network(text: str) -> Network:
    """Return the network that a text such as `10.1.0.0/16` or `10.1.2.3` stands for.

    Raises:
        ValueError: it is none, or has bits set behind its prefix.
    """
    return ip_network(text)
