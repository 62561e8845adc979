"""Which IP addresses belong to the public internet."""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

NOT_PUBLIC_V4 = (IPv4Network("192.88.99.0/24"),)  # retired 6to4 relays, which is_global leaves out
GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA has handed out
NAT64 = IPv6Network("64:ff9b::/96")  # the last 32 bits are the IPv4 address meant
NOT_PUBLIC_V6 = (
    IPv6Network("2001::/23"),  # protocol assignments; Teredo tunnels to an IPv4 address
    IPv6Network("2002::/16"),  # 6to4 does too
    IPv6Network("2001:db8::/32"),  # documentation
    IPv6Network("3fff::/20"),
)
# The IPv4 address meant is in the last 32 bits: NAT64, its local form, and what came before both.
EMBEDDING = (NAT64, IPv6Network("64:ff9b:1::/48"), IPv6Network("::/96"))
# Hosts of a cloud that hand its credentials to whoever asks from within, beside the link-local
# ones; some lie at addresses that look public.
METADATA: tuple[IPv4Network | IPv6Network, ...] = (
    IPv6Network("fd00:ec2::/32"),  # AWS
    IPv6Network("fd20:ce::254/128"),  # Google
    IPv4Network("168.63.129.16/32"),  # Azure
    IPv4Network("100.100.100.200/32"),  # Alibaba
    IPv4Network("192.0.0.192/32"),  # Oracle
)


def parse(text: str) -> Address:
    """Read an address as a resolver writes it; the IPv4 address within an IPv6 one is taken out."""
    address = ip_address(text.partition("%")[0])  # a zone says which link, not which network
    if isinstance(address, IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_public(address: Address) -> bool:
    """Whether anybody on the internet reaches the same host at this address."""
    if is_never_fetched(address):
        return False
    if isinstance(address, IPv4Address):
        return address.is_global and not any(address in net for net in NOT_PUBLIC_V4)
    if address in NAT64:
        return is_public(_embedded(address))
    return address in GLOBAL_UNICAST and not any(address in net for net in NOT_PUBLIC_V6)


def is_never_fetched(address: Address) -> bool:
    """Whether cloud credentials are handed out there, or no single host is: on any network."""
    is_embedding = isinstance(address, IPv6Address) and any(address in net for net in EMBEDDING)
    if is_embedding and is_never_fetched(_embedded(address)):
        return True
    is_no_host = address.is_multicast or address.is_unspecified
    return is_no_host or address.is_link_local or any(address in net for net in METADATA)


def _embedded(address: Address) -> IPv4Address:
    return IPv4Address(address.packed[-4:])
