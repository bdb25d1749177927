# Nobody may begin a connection to anything but the server's one UDP port. There is no rule for SSH: see docs/OPERATIONS.md for ways in.

resource "aws_security_group" "server" {
  name        = "postern-server"
  description = "Agents and connectors dial in by QUIC"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "quic" {
  for_each          = { ipv4 = "0.0.0.0/0", ipv6 = "::/0" }
  security_group_id = aws_security_group.server.id
  description       = "QUIC with mutual TLS"
  ip_protocol       = "udp"
  from_port         = 4433
  to_port           = 4433
  cidr_ipv4         = each.key == "ipv4" ? each.value : null
  cidr_ipv6         = each.key == "ipv6" ? each.value : null
}

resource "aws_security_group" "connector" {
  name        = "postern-connector"
  description = "Dials out; nobody dials in"
  vpc_id      = var.vpc_id
}

# Both: package sources, the interfaces of the cloud, the certificate authority.
resource "aws_vpc_security_group_egress_rule" "https" {
  for_each          = { server = aws_security_group.server.id, connector = aws_security_group.connector.id }
  security_group_id = each.value
  description       = "HTTPS"
  ip_protocol       = "tcp"
  from_port         = 443
  to_port           = 443
  cidr_ipv4         = "0.0.0.0/0"
}

# Debian's package sources, whose contents are signed.
resource "aws_vpc_security_group_egress_rule" "packages" {
  for_each          = { server = aws_security_group.server.id, connector = aws_security_group.connector.id }
  security_group_id = each.value
  description       = "Signed packages by HTTP"
  ip_protocol       = "tcp"
  from_port         = 80
  to_port           = 80
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "to_server" {
  security_group_id = aws_security_group.connector.id
  description       = "QUIC to the server"
  ip_protocol       = "udp"
  from_port         = 4433
  to_port           = 4433
  cidr_ipv4         = "0.0.0.0/0"
}

resource "aws_vpc_security_group_egress_rule" "to_backends" {
  for_each = {
    for pair in setproduct(var.backend_cidrs, var.backend_ports) : "${pair[0]}:${pair[1]}" => { cidr = pair[0], port = pair[1] }
  }
  security_group_id = aws_security_group.connector.id
  description       = "Services that the connector offers"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port
  cidr_ipv4         = each.value.cidr
}
