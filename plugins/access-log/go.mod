module wasmill/plugins/access-log

go 1.21
