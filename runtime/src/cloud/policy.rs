//! The least that a worker's role must allow. Never asks AWS.

use serde_json::json;

/// Who may assume the role: Lambda alone.
pub fn trust_policy() -> String {
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "lambda.amazonaws.com" },
            "Action": "sts:AssumeRole",
        }],
    });
    format!("{policy:#}")
}

/// What workers do: blocks below one prefix of one bucket, and the function's log.
///
/// The bucket is listed as a whole: without that S3 answers 403 instead of 404 where an object is not there,
/// and a condition on the prefix does not cover that case.
pub fn role_policy(bucket: &str, prefix: &str, function: &str) -> String {
    let bucket = format!("arn:aws:s3:::{bucket}");
    let between = if prefix.is_empty() { "" } else { "/" };
    let policy = json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Sid": "Blocks",
                "Effect": "Allow",
                "Action": [
                    "s3:GetObject",
                    "s3:PutObject",
                    "s3:DeleteObject",
                    "s3:AbortMultipartUpload",
                    "s3:ListMultipartUploadParts",
                ],
                "Resource": format!("{bucket}{between}{prefix}/*"),
            },
            {
                "Sid": "Names",
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:ListBucketMultipartUploads"],
                "Resource": bucket,
            },
            {
                "Sid": "Log",
                "Effect": "Allow",
                "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"],
                "Resource": format!("arn:aws:logs:*:*:log-group:/aws/lambda/{function}:*"),
            },
        ],
    });
    format!("{policy:#}")
}

#[cfg(test)]
mod tests {
    use super::role_policy;

    #[test]
    fn the_policy_names_one_prefix_and_nothing_else() {
        let resources = |prefix: &str| {
            let policy: serde_json::Value =
                serde_json::from_str(&role_policy("b", prefix, "f")).expect("JSON");
            let statements = policy["Statement"].as_array().expect("a list").clone();
            let named = statements
                .iter()
                .map(|one| one["Resource"].as_str().expect("one").to_owned());
            named.collect::<Vec<_>>()
        };
        let log = "arn:aws:logs:*:*:log-group:/aws/lambda/f:*";
        assert_eq!(
            resources("p/q"),
            ["arn:aws:s3:::b/p/q/*", "arn:aws:s3:::b", log]
        );
        assert_eq!(resources(""), ["arn:aws:s3:::b/*", "arn:aws:s3:::b", log]);
    }
}
