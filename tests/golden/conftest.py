# what lies here is generated code to read, not tests to collect
collect_ignore_glob = ["*"]
