# One instance for each role. Keys and certificates are not here: nothing of them comes into the state.

data "aws_ssm_parameter" "image" {
  # Published by Debian for each of its releases.
  name = "/aws/service/debian/release/12/latest/amd64"
}

locals {
  release = {
    region         = var.region
    release_uri    = "s3://${var.release_bucket}/${var.release_key}"
    release_sha256 = var.release_sha256
  }
  user_data = {
    server = templatefile("${path.module}/../cloud-init.yaml", merge(local.release, {
      role       = "server"
      parameters = "${var.parameters}/server"
      domain     = trimspace("'${var.domain}' ${var.email == "" ? "" : "'${var.email}'"}")
      settings   = join("\n", ["POSTERN_BIND=0.0.0.0", "POSTERN_METRICS_PORT=0", "POSTERN_RETRY_KEY_FILE=/var/lib/postern/retry-keys"])
    }))
    connector = templatefile("${path.module}/../cloud-init.yaml", merge(local.release, {
      role       = "connector"
      parameters = "${var.parameters}/connector"
      domain     = ""
      settings = join("\n", [
        "POSTERN_SERVER=${var.domain}:4433",
        "POSTERN_SERVICE=${join(",", [for id, backend in var.services : "${id}=${backend}"])}",
        "POSTERN_METRICS_PORT=0",
      ])
    }))
  }
}

# Made before their instances, so that the server has its address, which stays when the instance is replaced, from its first moment.
resource "aws_network_interface" "postern" {
  for_each = {
    server    = { subnet = var.server_subnet_id, group = aws_security_group.server.id }
    connector = { subnet = var.connector_subnet_id, group = aws_security_group.connector.id }
  }
  subnet_id       = each.value.subnet
  security_groups = [each.value.group]
  description     = "postern-${each.key}"
}

resource "aws_eip" "server" {
  domain            = "vpc"
  network_interface = aws_network_interface.postern["server"].id
}

resource "aws_instance" "postern" {
  for_each                    = aws_network_interface.postern
  ami                         = data.aws_ssm_parameter.image.value
  instance_type               = var.instance_type
  iam_instance_profile        = aws_iam_instance_profile.profile[each.key].name
  user_data                   = local.user_data[each.key]
  user_data_replace_on_change = true
  ebs_optimized               = true
  monitoring                  = true
  tags                        = { Name = "postern-${each.key}" }

  network_interface {
    network_interface_id = each.value.id
    device_index         = 0
  }

  # Only this instance itself may ask for its credentials, and only with a token.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  root_block_device {
    encrypted   = true
    kms_key_id  = var.key_arn
    volume_type = "gp3"
    volume_size = 10
  }

  lifecycle {
    # A newer image is taken when a newer release is.
    ignore_changes = [ami]
  }

  # The first start needs all of these.
  depends_on = [
    aws_eip.server,
    aws_iam_role_policy.own,
    aws_iam_role_policy.domain,
    aws_vpc_security_group_egress_rule.https,
    aws_vpc_security_group_egress_rule.packages,
  ]
}

resource "aws_route53_record" "server" {
  zone_id = var.zone_id
  name    = var.domain
  type    = "A"
  ttl     = 60
  records = [aws_eip.server.public_ip]
}

output "server" {
  value       = "${var.domain}:4433"
  description = "What agents and connectors dial."
}
