# What each instance may do, and nothing beside it: read the release and its own parameters; the server also the one DNS record that
# proves the domain is ours.

locals {
  roles = toset(["server", "connector"])
}

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ec2.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "own" {
  for_each = local.roles
  statement {
    actions   = ["s3:GetObject"]
    resources = ["arn:${data.aws_partition.this.partition}:s3:::${var.release_bucket}/${var.release_key}"]
  }
  statement {
    actions = ["ssm:GetParameter"]
    resources = [
      "arn:${data.aws_partition.this.partition}:ssm:${var.region}:${data.aws_caller_identity.this.account_id}:parameter${var.parameters}/${each.key}/*"
    ]
  }
  statement {
    actions   = ["kms:Decrypt"]
    resources = [var.key_arn]
  }
}

data "aws_iam_policy_document" "domain" {
  # certbot asks which zone it is, which cannot be asked of one zone only, and whether its change has reached all name servers.
  statement {
    actions   = ["route53:ListHostedZones"]
    resources = ["*"]
  }
  statement {
    actions   = ["route53:GetChange"]
    resources = ["arn:${data.aws_partition.this.partition}:route53:::change/*"]
  }
  statement {
    actions   = ["route53:ChangeResourceRecordSets"]
    resources = ["arn:${data.aws_partition.this.partition}:route53:::hostedzone/${var.zone_id}"]
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "route53:ChangeResourceRecordSetsNormalizedRecordNames"
      values   = ["_acme-challenge.${var.domain}"]
    }
    condition {
      test     = "ForAllValues:StringEquals"
      variable = "route53:ChangeResourceRecordSetsRecordTypes"
      values   = ["TXT"]
    }
  }
}

resource "aws_iam_role" "role" {
  for_each           = local.roles
  name               = "postern-${each.key}"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "own" {
  for_each = local.roles
  name     = "own"
  role     = aws_iam_role.role[each.key].id
  policy   = data.aws_iam_policy_document.own[each.key].json
}

resource "aws_iam_role_policy" "domain" {
  name   = "domain"
  role   = aws_iam_role.role["server"].id
  policy = data.aws_iam_policy_document.domain.json
}

resource "aws_iam_instance_profile" "profile" {
  for_each = local.roles
  name     = "postern-${each.key}"
  role     = aws_iam_role.role[each.key].name
}
