from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_append_only")]

    operations = [
        migrations.AlterField(
            model_name="entry",
            name="kind",
            field=models.CharField(
                choices=[
                    ("login", "login"),
                    ("login-failed", "failed login"),
                    ("logout", "logout"),
                    ("password", "password changed"),
                    ("password-reset", "password set by mail"),
                    ("address", "address changed"),
                    ("factor", "second factor changed"),
                    ("factor-failed", "second factor failed"),
                    ("staff", "staff action"),
                    ("silence", "silence"),
                    ("deploy", "deploy"),
                ],
                max_length=20,
                verbose_name="kind",
            ),
        ),
        migrations.AddField(
            model_name="entry",
            name="on_staff",
            field=models.BooleanField(db_default=False, default=False, verbose_name="changes staff"),
        ),
        migrations.AddIndex(
            model_name="entry",
            index=models.Index(condition=models.Q(("on_staff", True)), fields=["at"], name="audit_entry_staff"),
        ),
    ]
